"""Which rows: a range of keys or a set of keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql


@dataclass(frozen=True)
class KeyRange:
    """Keys from ``low`` to ``high``, both included."""

    low: int
    high: int

    def condition(self, column: sql.Composable) -> sql.Composed:
        """The rows whose ``column`` is selected, in a form that an index on it serves."""
        return sql.SQL("{} BETWEEN {} AND {}").format(column, sql.Literal(self.low), sql.Literal(self.high))

    def halves(self) -> tuple[KeyRange, KeyRange]:
        """Two ranges that together are this one; it must hold two keys or more."""
        middle = (self.low + self.high) // 2
        return KeyRange(self.low, middle), KeyRange(middle + 1, self.high)

    @property
    def is_single(self) -> bool:
        return self.low == self.high

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


@dataclass(frozen=True)
class KeySet:
    """Just these keys, sorted and distinct."""

    keys: tuple[int, ...]

    @classmethod
    def of(cls, keys: Iterable[int]) -> KeySet:
        return cls(tuple(sorted(set(keys))))

    def condition(self, column: sql.Composable) -> sql.Composed:
        """The rows whose ``column`` is selected, in a form that an index on it serves."""
        return sql.SQL("{} = ANY ({}::bigint[])").format(column, sql.Literal(list(self.keys)))

    def halves(self) -> tuple[KeySet, KeySet]:
        """Two sets that together are this one; it must hold two keys or more."""
        middle = len(self.keys) // 2
        return KeySet(self.keys[:middle]), KeySet(self.keys[middle:])

    @property
    def is_single(self) -> bool:
        return len(self.keys) == 1

    def __str__(self) -> str:
        return f"{len(self.keys)} keys"


@dataclass(frozen=True)
class KeyParameter:
    """Just the keys that come with the statement as its parameter ``name``, so that it can be prepared once."""

    name: str = "keys"

    def condition(self, column: sql.Composable) -> sql.Composed:
        """The rows whose ``column`` is selected, in a form that an index on it serves."""
        return sql.SQL("{} = ANY ({}::bigint[])").format(column, sql.Placeholder(self.name))


Selector = KeyRange | KeySet


def ranges(low: int, high: int, width: int) -> Iterator[KeyRange]:
    """The keys from ``low`` to ``high`` in ranges of ``width`` keys, the last one shorter if need be."""
    for start in range(low, high + 1, width):
        yield KeyRange(start, min(start + width - 1, high))

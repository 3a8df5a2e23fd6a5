"""Selects rows by a range of keys or a set of keys."""

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
        """Returns the condition that selects rows by ``column``, in a form that can use an index."""
        return sql.SQL("{} BETWEEN {} AND {}").format(column, sql.Literal(self.low), sql.Literal(self.high))

    def halves(self) -> tuple[KeyRange, KeyRange]:
        """Returns two ranges that together are this one; it must contain two keys or more."""
        middle = (self.low + self.high) // 2
        return KeyRange(self.low, middle), KeyRange(middle + 1, self.high)

    @property
    def is_single(self) -> bool:
        return self.low == self.high

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


@dataclass(frozen=True)
class KeySet:
    """A set of keys, sorted and distinct."""

    keys: tuple[int, ...]

    @classmethod
    def of(cls, keys: Iterable[int]) -> KeySet:
        return cls(tuple(sorted(set(keys))))

    def condition(self, column: sql.Composable) -> sql.Composed:
        """Returns the condition that selects rows by ``column``, in a form that can use an index."""
        return sql.SQL("{} = ANY ({}::bigint[])").format(column, sql.Literal(list(self.keys)))

    def halves(self) -> tuple[KeySet, KeySet]:
        """Returns two sets that together are this one; it must contain two keys or more."""
        middle = len(self.keys) // 2
        return KeySet(self.keys[:middle]), KeySet(self.keys[middle:])

    @property
    def is_single(self) -> bool:
        return len(self.keys) == 1

    def __str__(self) -> str:
        return f"{len(self.keys)} keys"


@dataclass(frozen=True)
class KeyParameter:
    """The keys in the statement's parameter ``name``, so that the statement can be prepared once."""

    name: str = "keys"

    def condition(self, column: sql.Composable) -> sql.Composed:
        """Returns the condition that selects rows by ``column``, in a form that can use an index."""
        return sql.SQL("{} = ANY ({}::bigint[])").format(column, sql.Placeholder(self.name))


Selector = KeyRange | KeySet


def ranges(low: int, high: int, width: int) -> Iterator[KeyRange]:
    """Yields the keys from ``low`` to ``high`` in ranges of ``width`` keys; the last range may be shorter."""
    for start in range(low, high + 1, width):
        yield KeyRange(start, min(start + width - 1, high))

"""The columns of one Task Service table, with their names and types on both sides: the mapping checked against the
catalog."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.selector import KeyParameter, Selector
from task_migration.mapping.table_mapping import Mapping
from task_migration.postgres import database

_INTEGERS = ("smallint", "integer", "bigint")


@dataclass(frozen=True)
class _TypedColumn:
    name: str
    type: str
    is_enum: bool
    is_text: bool

    @property
    def comparable_type(self) -> str:
        """A type that either side can hold."""
        if self.is_enum:
            return "text"
        return "bigint" if self.type in _INTEGERS else self.type


@dataclass(frozen=True)
class Shape:
    """A mapping together with the actual column types of its table; created by ``shape_of``."""

    mapping: Mapping
    columns: tuple[_TypedColumn, ...]

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier("public", self.mapping.table)

    @property
    def key(self) -> sql.Identifier:
        return sql.Identifier(self.mapping.key)

    @property
    def names(self) -> sql.Composed:
        """The mapped columns' names, with commas."""
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)

    def names_of(self, alias: str) -> sql.Composed:
        """The mapped columns' names with an alias before each, with commas."""
        return sql.SQL(", ").join(sql.Identifier(alias, column.name) for column in self.columns)

    @property
    def updated(self) -> sql.Composed:
        """The names of the columns that an upsert updates, with commas: all but the key."""
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self._without_key)

    @property
    def known(self) -> sql.Composed:
        """The stored values of the updated columns, with commas."""
        return sql.SQL(", ").join(sql.Identifier("known", column.name) for column in self._without_key)

    @property
    def _without_key(self) -> list[_TypedColumn]:
        return [column for column in self.columns if column.name != self.mapping.key]

    def converted(self, alias: str) -> sql.Composed:
        """Returns the mapped SELECT's columns in exactly the table's types, enums as text.

        Text is never cast: a cast to varchar(n) would cut a long value silently, while writing it is an error.
        """
        return sql.SQL(", ").join(
            sql.Identifier(alias, column.name)
            if column.is_text or column.is_enum
            else sql.SQL("{}::{}").format(sql.Identifier(alias, column.name), sql.SQL(column.type))
            for column in self.columns
        )

    def comparable(self, alias: str) -> sql.Composed:
        """The columns, mapped or stored, in types that either side can hold: enums as text, every integer as bigint.

        A row that does not fit the table's types, such as an id beyond INTEGER, is a difference here and not an error.
        """
        return sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(self._compared(alias, column), sql.Identifier(column.name))
            if column.is_enum or not column.is_text or column.name in self.mapping.finer
            else sql.Identifier(alias, column.name)
            for column in self.columns
        )

    def _compared(self, alias: str, column: _TypedColumn) -> sql.Composed:
        value = sql.SQL("{}::{}").format(sql.Identifier(alias, column.name), sql.SQL(column.comparable_type))
        finer = self.mapping.finer.get(column.name)
        if not finer:
            return value
        folded = [
            sql.SQL("WHEN {} THEN {}").format(sql.Literal(kind), sql.Literal(coarse))
            for coarse, kinds in finer.items()
            for kind in kinds
        ]
        return sql.SQL("CASE {0} {1} ELSE {0} END").format(value, sql.SQL(" ").join(folded))

    @property
    def compared_types(self) -> sql.Composed:
        """The columns with their comparable types, as the definition of a record."""
        return sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.comparable_type))
            for column in self.columns
        )

    @property
    def merged(self) -> sql.Composed:
        """What an upsert writes into the ``updated`` columns: the mapped value, or a stored finer value of it."""
        return sql.SQL(", ").join(
            sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
                sql.SQL(" OR ").join(
                    sql.SQL("({}::text = {} AND {}::text = ANY ({}))").format(
                        sql.Identifier("excluded", column.name),
                        sql.Literal(coarse),
                        sql.Identifier("known", column.name),
                        sql.Literal(list(kinds)),
                    )
                    for coarse, kinds in self.mapping.finer[column.name].items()
                ),
                sql.Identifier("known", column.name),
                sql.Identifier("excluded", column.name),
            )
            if column.name in self.mapping.finer
            else sql.Identifier("excluded", column.name)
            for column in self._without_key
        )

    def mapped_rows(self, selector: Selector | KeyParameter | None) -> sql.Composed:
        """SELECT over Laravel's tables: the mapped rows, comparable with ``stored_rows``."""
        return sql.SQL("SELECT {} FROM ({}) mapped").format(self.comparable("mapped"), self.mapping.rows(selector))

    def stored_rows(self, selector: Selector | KeyParameter | None) -> sql.Composed:
        """SELECT over the Task Service's table: the rows as they are there, comparable with ``mapped_rows``."""
        return sql.SQL("SELECT {} FROM {} stored WHERE {} AND NOT ({})").format(
            self.comparable("stored"),
            self.table,
            selector.condition(sql.Identifier("stored", self.mapping.key)) if selector else sql.SQL("true"),
            sql_files.as_sql(self.mapping.destination_only),
        )


def shape_of(mapping: Mapping, laravel: database.Connection, task_service: database.Connection) -> Shape:
    """Reads both catalogs. Raises Refused if the table does not exist or its columns are not those of the mapping."""
    known = {
        name: (_TypedColumn(name, type_, is_enum, is_text), must_be_given)
        for name, type_, is_enum, is_text, must_be_given in task_service.execute(
            sql_files.statement("sync/converge.sql", "columns of table"), {"table": f"public.{mapping.table}"}
        )
    }
    if not known:
        raise Refused(
            f"the Task Service's database has no table {mapping.table}",
            next_step="ansible-playbook phase-2.1-prepare.yml",
        )
    empty = laravel.execute(sql.SQL("SELECT * FROM ({}) mapped LIMIT 0").format(mapping.rows()))
    mapped = [column.name for column in empty.description or ()]
    unknown = [name for name in mapped if name not in known]
    unmapped = [
        name
        for name, (_, must_be_given) in known.items()
        if name not in mapped and (must_be_given or name not in mapping.destination_owned)
    ]
    if unknown or unmapped:
        raise Refused(
            f"the Task Service's table {mapping.table} does not have the columns of its mapping",
            measured=f"not in the table: {unknown or 'none'}; not in the mapping: {unmapped or 'none'}",
            allowed="every column mapped or declared destination_owned",
            next_step=f"make {mapping_directory.described('mapping')}/{mapping.table}.sql and the table match",
        )
    return Shape(mapping, tuple(known[name][0] for name in mapped))

"""SQL conditions over columns of an item and of a user (`item.min_age <= user.age`), read by polars, each fault with its place.

Polars takes no dot between a table and a column (and `user` is a word of SQL's own), so the dot becomes MARK: names as long as before,
so that a position in what polars read is a position in what the shop wrote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from recsys.errors import nearest

MARK = "$"
TABLES = ("item", "user")

_TOKEN = re.compile(
    r"""(?P<other>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/)"""
    r"""|(?<![\w.$])(?P<table>item|user)\.(?:(?P<plain>[A-Za-z_]\w*)|"(?P<quoted>(?:[^"]|"")*)")""",
    re.DOTALL,
)
_OF_MANY = re.compile(
    r"\b(?:(?:ARRAY_AGG|AVG|CORR|COUNT|COVAR\w*|FIRST|LAST|LAG|LEAD|MAX|MEDIAN|MIN|QUANTILE\w*|STDDEV\w*|STDEV\w*|SUM|VAR|VAR_\w+|VARIANCE|OVER)\s*\("
    r"|SELECT\b)",
    re.IGNORECASE,
)
_POSITION = re.compile(r"^(?:sql parser error: )?(.*) at Line: (\d+), Column: (\d+)$", re.DOTALL)
_SELECT = "SELECT "


@dataclass(frozen=True)
class Condition:
    """A condition as written, as an expression over `item$x` and `user$y`, and the columns that it names of each."""

    text: str
    expression: pl.Expr
    item_columns: tuple[str, ...]
    user_columns: tuple[str, ...]


def qualified(name: str, table: str) -> str:
    """What a column of `item` or `user` is called in the frame that a condition is evaluated on."""
    return f"{table}{MARK}{name}"


def condition(text: str, known: Mapping[str, list[str]]) -> Condition:
    """Read a condition. known: the columns that there are, by table.

    Raises ValueError saying what is wrong and where in the text: it cannot be parsed, speaks of many rows at once, names a column
    that there is not, or none at all.
    """
    if _of_many := _OF_MANY.search(_blanked(text)):
        at = _of_many.start() + 1
        raise ValueError(f"`{_of_many[0].strip(' (')}` at character {at} speaks of many rows; a condition is of one item and one user")
    try:
        expression = pl.sql_expr(marked(text))
    except pl.exceptions.PolarsError as error:
        raise ValueError(_syntax_fault(text, error)) from None
    if not expression.meta.eq(expression.meta.undo_aliases()):
        raise ValueError(f"is no condition: {expression.meta.output_name().replace(MARK, '.')!r} stands behind it, as the name of a column")
    named = list(dict.fromkeys(expression.meta.root_names()))
    if not named:
        raise ValueError("names no column; write item.x or user.y")
    for name in named:
        _refuse_unknown(name, known)
    of = {table: tuple(n.removeprefix(table + MARK) for n in named if n.startswith(table + MARK)) for table in TABLES}
    return Condition(text, expression, of["item"], of["user"])


def marked(text: str, as_tables: bool = False) -> str:
    """The text with `item.x` as `item$x`; as_tables: as a column of the table "item" of a query."""

    def one(found: re.Match[str]) -> str:
        table, plain, quoted = found["table"], found["plain"], found["quoted"]
        if table is None:
            return found[0]
        if as_tables:
            column = plain if quoted is None else quoted
            return f'"{table}"."{column}"'
        return qualified(plain, table) if quoted is None else f'"{qualified(quoted, table)}"'

    return _TOKEN.sub(one, text)


def fault(error: pl.exceptions.PolarsError) -> str:
    """What polars says of an expression, in one line."""
    line = str(error).splitlines()[0].rstrip(".")
    hint = " (CAST stops at a value that does not fit, TRY_CAST makes it null)" if "conversion" in line else ""
    return line.replace(MARK, ".") + hint


def _blanked(text: str) -> str:
    """The text with blanks in place of strings, quoted names and comments."""
    return _TOKEN.sub(lambda found: " " * len(found[0]) if found["other"] is not None else found[0], text)


def _refuse_unknown(name: str, known: Mapping[str, list[str]]) -> None:
    table, _, column = name.partition(MARK)
    written = [f"{one}.{x}" for one in TABLES for x in known[one]]
    if table not in TABLES or not column:
        raise ValueError(f"names {name!r}, and a column is written item.x or user.y{nearest(f'item.{name}', written)}")
    if column not in known[table]:
        if not known[table]:
            raise ValueError(f"names {table}.{column}, and there is no table of users; say in [users] where it is")
        raise ValueError(f"names {table}.{column}, which there is not{nearest(f'{table}.{column}', written)}")


def _syntax_fault(text: str, error: pl.exceptions.PolarsError) -> str:
    """The fault with its place. The parser of single expressions seldom says where; that of whole queries does."""
    said = str(error).splitlines()[0]
    try:
        pl.SQLContext(eager=False).execute(_SELECT + marked(text))
    except pl.exceptions.PolarsError as of_query:
        told = str(of_query)
        if found := _POSITION.match(told):
            line, column = int(found[2]), int(found[3]) - (len(_SELECT) if found[2] == "1" else 0)
            where = f"line {line}, character {column}" if "\n" in text else f"character {column}"
            return f"is no SQL: {_lowered(found[1])} at {where}"
        if "sql parser error" in told:
            return f"is no SQL: {_lowered(told.removeprefix('sql parser error: '))} at its end, character {len(text)}"
    word = re.search(r"'(.+?)'", said)
    at = text.lower().find(word[1].lower()) if word else -1
    return f"is no SQL: {said.replace(MARK, '.')}" + (f" at character {at + 1}" if at >= 0 else "")


def _lowered(said: str) -> str:
    said = said.replace(MARK, ".")
    return said[:1].lower() + said[1:]

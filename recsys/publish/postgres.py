"""The PostgreSQL sink: a night is a table of its own, and the view `recommendations` shows the one that is served.

    <schema>."night <night id>"   user_id, item_id, rank, score, as_of, run_id, reason, click_probability,
                                  purchase_probability (null: unknown); primary key (user_id, rank)
    <schema>.recommendations      the view that readers ask, and that their rights are on
    <schema>.nights               night_id, as_of, run_id, n_users, n_rows, published_at, is_served

A view that is replaced in one transaction shows every statement one night or the other, whole, and keeps the rights given on it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import polars as pl
import psycopg
from psycopg import sql

from recsys.errors import PublishError
from recsys.publish.parts import Night
from recsys.schema import CHANCES, RECOMMENDATIONS

TYPES = {
    "user_id": "text",
    "item_id": "text",
    "rank": "integer",
    "score": "double precision",
    "as_of": "timestamptz",
    "run_id": "text",
    "reason": "text",
    "click_probability": "real",
    "purchase_probability": "real",
}
"""New ones come last: a view that is replaced may only grow at its end."""

NIGHTS = (
    "night_id text PRIMARY KEY, as_of timestamptz NOT NULL, run_id text NOT NULL, n_users bigint NOT NULL, n_rows bigint NOT NULL, "
    "published_at timestamptz NOT NULL DEFAULT now(), is_served boolean NOT NULL"
)
Cursor = psycopg.Cursor[tuple[object, ...]]

LOCK = "recsys publishes"
"""Two nights into one schema at once take turns."""

LOCK_SECONDS = 30
"""How long a switch waits for readers that hold the view: longer, and those behind it would wait too."""


@dataclass(frozen=True)
class PostgresSink:
    """Serves from `<schema>.recommendations` of the database at `address` (postgresql://...), which no message repeats."""

    address: str
    schema: str
    name: str = "PostgreSQL"

    def stage(self, night: Night) -> None:
        """COPY the parts into a table of the night's own, give it its key, and read every part back."""
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
            cursor.execute(self._sql("CREATE TABLE IF NOT EXISTS {nights} (" + NIGHTS + ")"))
            self._drop_strays(cursor)
            nullable = {column.name for column in RECOMMENDATIONS.columns if column.nullable}
            columns = ", ".join(f"{name} {kind}{'' if name in nullable else ' NOT NULL'}" for name, kind in TYPES.items())
            cursor.execute(self._sql("CREATE TABLE {table} (" + columns + ")", night))
            for part in night.parts():
                with cursor.copy(self._sql("COPY {table} FROM STDIN (FORMAT csv)", night)) as copy:
                    copy.write(_csv(part))
            cursor.execute(self._sql("ALTER TABLE {table} ADD PRIMARY KEY (user_id, rank)", night))
            for place, part in enumerate(night.parts()):
                self._compare(cursor, night, part, place)
            cursor.execute(self._sql("ANALYZE {table}", night))

    def switch(self, night: Night, keep: int) -> None:
        """Turn the view to the night and drop those before the latest `keep`, in one transaction."""
        said = night.manifest
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{LOCK} {self.schema}",))
            cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_SECONDS}s")))
            cursor.execute(self._sql("UPDATE {nights} SET is_served = false WHERE is_served"))
            values = (night.night_id, said["as_of"], said["run_id"], said["n_users"], said["n_rows"])
            cursor.execute(self._sql("INSERT INTO {nights} VALUES (%s, %s, %s, %s, %s, DEFAULT, true)"), values)
            cursor.execute(self._sql("CREATE OR REPLACE VIEW {view} AS SELECT " + ", ".join(TYPES) + " FROM {table}", night))
            if keep:
                cursor.execute(self._sql("SELECT night_id FROM {nights} ORDER BY published_at DESC OFFSET %s"), (keep,))
                for (old,) in cursor.fetchall():
                    cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table(str(old))))
                    cursor.execute(self._sql("DELETE FROM {nights} WHERE night_id = %s"), (old,))

    def drop(self, night: Night) -> None:
        """Drop the night's table."""
        with self._connection() as connection:
            connection.execute(self._sql("DROP TABLE IF EXISTS {table}", night))

    def forget(self, user_id: str) -> int:
        """Delete the user's rows from the table of every night, in one transaction."""
        n_rows = 0
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'night %%'", (self.schema,))
            for (table,) in cursor.fetchall():
                cursor.execute(sql.SQL("DELETE FROM {} WHERE user_id = %s").format(sql.Identifier(self.schema, str(table))), (user_id,))
                n_rows += cursor.rowcount
        return n_rows

    def _drop_strays(self, cursor: Cursor) -> None:
        """Tables of nights that were staged and never served: their process was killed in between."""
        strays = "SELECT substr(tablename, 7) FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'night %%'"
        cursor.execute(self._sql(strays + " AND substr(tablename, 7) NOT IN (SELECT night_id FROM {nights})"), (self.schema,))
        for (stray,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP TABLE {}").format(self._table(str(stray))))

    def _compare(self, cursor: Cursor, night: Night, part: pl.DataFrame, place: int) -> None:
        some = sql.Literal(part["user_id"].unique().to_list())
        asked = self._sql("SELECT " + ", ".join(TYPES) + " FROM {table} WHERE user_id = ANY({some})", night, some=some)
        # Out by COPY, as it went in: rows fetched one by one take longer than writing them did.
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)").format(asked)) as copy:
            found = _from_csv(b"".join(copy))
        order = ["user_id", "rank"]
        if not found.sort(order).equals(part.select(RECOMMENDATIONS.names).sort(order)):
            raise PublishError(f"{self.name}: part {place} of {night.night_id} reads back differently from what was written.")

    def _table(self, night_id: str) -> sql.Identifier:
        return sql.Identifier(self.schema, f"night {night_id}")

    def _sql(self, text: LiteralString, night: Night | None = None, **more: sql.Composable) -> sql.Composed:
        table = self._table(night.night_id if night else "")
        view, nights = sql.Identifier(self.schema, "recommendations"), sql.Identifier(self.schema, "nights")
        return sql.SQL(text).format(table=table, view=view, nights=nights, **more)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """One transaction: all of what is done in it, or nothing."""
        try:
            with psycopg.connect(self.address, connect_timeout=10, options="-c timezone=UTC") as connection:
                yield connection
        except psycopg.Error as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise PublishError(f"{self.name}, schema {self.schema}: {said}.") from None


def _csv(part: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    part.select(list(TYPES)).write_csv(buffer, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ", quote_style="non_numeric")
    return buffer.getvalue()


def _from_csv(content: bytes) -> pl.DataFrame:
    """What COPY gave, every field in quotes, as RECOMMENDATIONS."""
    read = pl.read_csv(content, has_header=False, schema=dict.fromkeys(TYPES, pl.String), raise_if_empty=False)
    time = pl.col("as_of").str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", time_zone="UTC")
    numbers = [pl.col(name).cast(RECOMMENDATIONS.dtype(name)) for name in ("rank", "score", *CHANCES)]
    return read.with_columns(time, *numbers).select(RECOMMENDATIONS.names)

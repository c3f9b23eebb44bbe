"""How much quicker COPY into a staged table is than inserting row by row, into a PostgreSQL of its own.

    python -m benchmarks.postgres_copy [--users 2000] [--k 50] [--rounds 3]

Lists of `users` x `k` rows go, in one transaction each, by `INSERT` a row at a time (one prepared statement); by COPY and the key
alone; and through the sink (`recsys.publish.postgres`: COPY, the key, every row read back and compared, the switch). Seconds of
the wall clock, medians of paired rounds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg

from recsys.publish import Night, Promise, publish
from recsys.publish.postgres import TYPES, PostgresSink, _csv
from recsys.schema import RECOMMENDATIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import servers  # type: ignore[import-not-found]

CHUNK = 512
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    parts = [lists(range(start, min(start + CHUNK, given.users)), given.k) for start in range(0, given.users, CHUNK)]
    with tempfile.TemporaryDirectory() as folder, servers.postgres() as address:
        sink = PostgresSink(address, "recsys")
        manifest = {"as_of": AS_OF.isoformat(), "run_id": "bench"}
        promise = Promise(given.users, 1.0, pl.Series([f"item{n:05d}" for n in range(given.k)]))
        night = publish(iter(parts), manifest, Path(folder), promise)
        said = manifest | {"n_users": given.users, "n_rows": given.users * given.k}
        rounds = [
            (plain(address, parts, False), plain(address, parts, True), staged(sink, Night(night, said), n)) for n in range(given.rounds)
        ]
    rows, copied, whole = (statistics.median(each) for each in zip(*rounds, strict=True))
    print(f"{given.users * given.k:,} rows, row by row: {rows:.2f} s")
    print(f"COPY and key: {copied:.2f} s, {rows / copied:.1f} times as fast")
    print(f"the sink, read back and switched: {whole:.2f} s, {rows / whole:.1f} times as fast")


def lists(users: range, k: int) -> pl.DataFrame:
    """A RECOMMENDATIONS table of `k` rows a user."""
    rows = [
        (f"user{user:06d}", f"item{rank:05d}", rank + 1, 1.0 / (rank + 1), AS_OF, "bench", "popular now", 0.1, 0.01)
        for user in users
        for rank in range(k)
    ]
    schema = {column.name: column.dtype for column in RECOMMENDATIONS.columns}
    return pl.DataFrame(rows, schema=schema, orient="row")


def plain(address: str, parts: list[pl.DataFrame], is_copied: bool) -> float:
    """Seconds to put every row into a fresh table, by COPY or one statement each, and to give the table its key."""
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS plain")
        cursor.execute("CREATE TABLE plain (" + ", ".join(f"{name} {kind} NOT NULL" for name, kind in TYPES.items()) + ")")
        begun = time.perf_counter()
        for part in parts:
            if is_copied:
                with cursor.copy("COPY plain FROM STDIN (FORMAT csv)") as copy:
                    copy.write(_csv(part))
            else:
                for row in part.iter_rows():
                    cursor.execute("INSERT INTO plain VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", row)
        cursor.execute("ALTER TABLE plain ADD PRIMARY KEY (user_id, rank)")
        connection.commit()
        return time.perf_counter() - begun


def staged(sink: PostgresSink, night: Night, n: int) -> float:
    """Seconds to stage, compare and switch; the night gets another name each round."""

    class Named(Night):
        @property
        def night_id(self) -> str:
            return f"{super().night_id}-{n}"

    begun = time.perf_counter()
    sink.stage(named := Named(night.path, night.manifest))
    sink.switch(named, 1)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

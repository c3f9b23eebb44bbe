"""One contract for every sink: a night is served whole or not at all, as it lies in the folder, and what was served stays until then."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
import servers
from psycopg import sql
from redis import Redis
from test_publish import AS_OF, RUN_ID, lists, manifest, promise

from recsys.config import Publish
from recsys.errors import ConfigError, PublishError
from recsys.pipeline.sinks import sinks_of
from recsys.publish import Night, Sink, publish
from recsys.publish.postgres import PostgresSink
from recsys.publish.redis import RedisSink

SERVERS = {"postgres": servers.postgres, "redis": servers.redis}
NASTY = ["a", "naïve 石", 'she said "b", c', "u:*?[x]\\", "two\nlines", " spaced ", "'; DROP TABLE nights; --", "\\N"]

POSTGRES_ALONE = pytest.mark.parametrize("server", ["postgres"], indirect=True)

Lists = dict[str, list[tuple[str, int, float, str]]]


FIELDS = ("item_id", "rank", "score", "reason", "click_probability", "purchase_probability")


@dataclass(frozen=True)
class Place:
    """A sink, and how a reader asks it: the night that is served with its lists, and what else lies there."""

    kind: str
    address: str
    sink: Sink

    def served(self) -> tuple[str, Lists] | None:
        return (self._postgres if self.kind == "postgres" else self._redis)()

    def _postgres(self) -> tuple[str, Lists] | None:
        with psycopg.connect(self.address) as connection:
            if connection.execute("SELECT to_regclass('recsys.recommendations')").fetchone() == (None,):
                return None
            night = connection.execute("SELECT night_id FROM recsys.nights WHERE is_served").fetchone()
            rows = connection.execute(f"SELECT user_id, {', '.join(FIELDS)} FROM recsys.recommendations ORDER BY rank").fetchall()
        found: Lists = {}
        for user, *rest in rows:
            found.setdefault(user, []).append(tuple(rest))
        return (night or ("",))[0], found

    def _redis(self) -> tuple[str, Lists] | None:
        server = Redis.from_url(self.address, decode_responses=True)
        night = server.get("recsys:current")
        if night is None:
            return None
        prefix = f"recsys:{night}:"
        keys = [key for key in server.scan_iter(count=1000) if key.startswith(prefix)]
        found = {key[len(prefix) :]: [tuple(one[field] for field in FIELDS) for one in json.loads(server.get(key))] for key in keys}
        return str(night), found  # type: ignore[return-value]

    def nights(self) -> set[str]:
        """Ids of the nights of which anything lies there."""
        if self.kind == "postgres":
            with psycopg.connect(self.address) as connection:
                rows = connection.execute("SELECT substr(tablename, 7) FROM pg_tables WHERE tablename LIKE 'night %'").fetchall()
            return {name for (name,) in rows}
        keys = Redis.from_url(self.address, decode_responses=True).scan_iter(count=1000)
        return {key.split(":")[1] for key in keys} - {"current", "nights", "staged"}


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with SERVERS[request.param]() as address:
        yield request.param, address


@pytest.fixture
def place(server: tuple[str, str]) -> Place:
    """An empty one."""
    kind, address = server
    if kind == "postgres":
        with psycopg.connect(address) as connection:
            connection.execute("DROP SCHEMA IF EXISTS recsys CASCADE")
        return Place(kind, address, PostgresSink(address, "recsys"))
    Redis.from_url(address).flushall()
    return Place(kind, address, RedisSink(address, "recsys"))


@dataclass(frozen=True)
class Failing:
    """A sink that breaks at one of its steps."""

    step: str
    name: str = "Failing"

    def stage(self, night: Night) -> None:
        self._break("stage")

    def switch(self, night: Night, keep: int) -> None:
        self._break("switch")

    def drop(self, night: Night) -> None:
        self._break("drop")

    def forget(self, user_id: str) -> int:
        return 0

    def _break(self, step: str) -> None:
        if step == self.step:
            raise PublishError(f"the {step} broke.")


def out(folder: Path, users: list[str], *sinks: Sink, day: int = 0, keep: int = 0, n_items: int = 3) -> Path:
    as_of = (AS_OF + timedelta(days=day)).isoformat()
    asked = promise(n_asked=len(users))
    return publish(iter([lists(users[:2], n_items), lists(users[2:], n_items)]), manifest(as_of=as_of), folder, asked, sinks, keep)


def as_lists(path: Path) -> Lists:
    rows = pl.read_parquet(path / "recommendations").sort("user_id", "rank")
    found: Lists = {}
    for user, *rest in rows.select("user_id", *FIELDS).iter_rows():
        found.setdefault(user, []).append(tuple(rest))
    return found


def test_a_night_is_served_exactly_as_it_lies_in_the_folder_whatever_the_ids(place: Place, tmp_path: Path) -> None:
    path = out(tmp_path, NASTY, place.sink)
    assert place.served() == (path.name, as_lists(path))


def test_the_next_night_takes_its_place(place: Place, tmp_path: Path) -> None:
    out(tmp_path, ["a", "b", "c"], place.sink)
    second = out(tmp_path, ["c", "d", "e"], place.sink, day=1, n_items=5)
    assert place.served() == (second.name, as_lists(second))


@pytest.mark.parametrize("step", ["stage"])
def test_where_another_sink_breaks_nothing_is_served_anew_and_nothing_is_left(place: Place, tmp_path: Path, step: str) -> None:
    first = out(tmp_path, ["a", "b", "c"], place.sink)
    with pytest.raises(PublishError, match="the stage broke"):
        out(tmp_path, ["d", "e", "f"], place.sink, Failing(step), day=1)
    assert place.served() == (first.name, as_lists(first))
    assert place.nights() == {first.name}
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, "current"]


def test_a_switch_that_breaks_says_who_serves_what_and_the_next_try_puts_it_right(place: Place, tmp_path: Path) -> None:
    first = out(tmp_path, ["a", "b", "c"], place.sink)
    with pytest.raises(
        PublishError, match=rf"the switch broke\. {place.sink.name} already serve tonight's lists; all else still serves those of before"
    ):
        out(tmp_path, ["d", "e", "f"], place.sink, Failing("switch"), day=1)
    assert (tmp_path / "current").read_text().strip() == first.name
    third = out(tmp_path, ["d", "e", "f"], place.sink, day=1)
    assert place.served() == (third.name, as_lists(third))
    assert (tmp_path / "current").read_text().strip() == third.name


def test_a_process_killed_while_it_stages_leaves_last_night_served_and_the_next_night_clears_up(place: Place, tmp_path: Path) -> None:
    first = out(tmp_path, ["a", "b", "c"], place.sink)
    script = f"""
import sys, pathlib, time
sys.path.insert(0, "tests")
from test_sinks import Failing, PostgresSink, RedisSink, out
class Slow(Failing):
    def stage(self, night):
        print("staged", flush=True)
        time.sleep(60)
sink = {type(place.sink).__name__}({place.address!r}, "recsys")
out(pathlib.Path({str(tmp_path)!r}), ["d", "e", "f"], sink, Slow("none"), day=1)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"staged\n"
        child.send_signal(signal.SIGKILL)
    assert place.served() == (first.name, as_lists(first))
    assert len(place.nights()) == 2
    third = out(tmp_path, ["d", "e"], place.sink, day=2)
    assert place.served() == (third.name, as_lists(third))
    assert place.nights() == {first.name, third.name}


def test_old_nights_go_when_a_newer_is_served(place: Place, tmp_path: Path) -> None:
    nights = [out(tmp_path, ["a", "b", "c"], place.sink, day=day, keep=2) for day in range(4)]
    assert place.nights() == {night.name for night in nights[-2:]}
    assert place.served() == (nights[-1].name, as_lists(nights[-1]))


@pytest.mark.parametrize("user_id", NASTY)
def test_a_forgotten_user_is_in_no_night_and_all_others_are_as_they_were(place: Place, tmp_path: Path, user_id: str) -> None:
    out(tmp_path, NASTY, place.sink)
    second = out(tmp_path, NASTY, place.sink, day=1, n_items=5)
    assert place.sink.forget(user_id) == 3 + 5
    assert place.served() == (second.name, {user: rows for user, rows in as_lists(second).items() if user != user_id})
    assert place.sink.forget(user_id) == 0


def test_a_reader_never_sees_half_a_night(place: Place, tmp_path: Path) -> None:
    """Night n has lists of n + 1 items for every user: one reader asks for all of them as often as it can while nights are published."""
    users = [f"u{n}" for n in range(300)]
    out(tmp_path, users, place.sink, n_items=1, keep=2)
    seen: list[set[int]] = []
    stop = threading.Event()

    def read() -> None:
        with _lengths_postgres(place.address) if place.kind == "postgres" else _lengths_redis(place.address, users) as ask:
            while not stop.is_set():
                seen.append(ask())

    reader = threading.Thread(target=read)
    reader.start()
    for night in range(1, 9):
        out(tmp_path, users, place.sink, day=night, n_items=night + 1, keep=2)
    stop.set()
    reader.join()
    assert all(len(lengths) == 1 for lengths in seen)
    assert len(set.union(*seen)) > 2, "the reader was too slow to see anything change"


@contextmanager
def _lengths_postgres(address: str) -> Iterator[Callable[[], set[int]]]:
    ask = "SELECT DISTINCT n FROM (SELECT count(*) n FROM recsys.recommendations GROUP BY user_id) lengths"
    with psycopg.connect(address, autocommit=True) as connection:
        yield lambda: {n for (n,) in connection.execute(ask).fetchall()}


@contextmanager
def _lengths_redis(address: str, users: list[str]) -> Iterator[Callable[[], set[int]]]:
    with Redis.from_url(address, decode_responses=True) as server:
        key = "recsys:{}:{}".format
        yield lambda: {
            len(json.loads(text)) for night in [server.get("recsys:current")] for text in server.mget([key(night, u) for u in users])
        }


def test_a_server_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    for sink in (PostgresSink("postgresql://me:secret@127.0.0.1:1/x", "recsys"), RedisSink("redis://:secret@127.0.0.1:1", "recsys")):
        with pytest.raises(PublishError, match=sink.name) as caught:
            out(tmp_path, ["a", "b", "c"], sink)
        assert "secret" not in str(caught.value)
        assert "still is" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


@POSTGRES_ALONE
def test_an_id_that_postgres_cannot_hold_is_refused_whole(place: Place, tmp_path: Path) -> None:
    first = out(tmp_path, ["a", "b", "c"], place.sink)
    with pytest.raises(PublishError, match="PostgreSQL, schema recsys"):
        out(tmp_path, ["a", "nul \0", "c"], place.sink, day=1)
    assert place.served() == (first.name, as_lists(first))
    assert place.nights() == {first.name}


def test_chances_are_served_to_the_last_bit_and_null_where_unknown(place: Place, tmp_path: Path) -> None:
    chances = pl.Series([0.1, 1e-30, None, 1.0, 1 / 3], dtype=pl.Float32)
    frame = lists(["a"], 5).with_columns(click_probability=chances, purchase_probability=chances.reverse())
    path = publish(iter([frame]), manifest(), tmp_path, promise(n_asked=1), [place.sink])  # every sink compares what it reads back
    night, found = place.served() or ("", {})
    assert night == path.name
    served = pl.Series([row[4] for row in found["a"]], dtype=pl.Float32)
    assert served.equals(chances, null_equal=True)


@POSTGRES_ALONE
def test_a_night_of_before_there_were_chances_gives_way_to_one_that_has_them(place: Place, tmp_path: Path) -> None:
    first = out(tmp_path / "first", ["a", "b", "c"], place.sink)
    with psycopg.connect(place.address) as connection:  # as an earlier recsys left it
        table = sql.Identifier("recsys", f"night {first.name}")
        connection.execute("DROP VIEW recsys.recommendations")
        connection.execute(sql.SQL("ALTER TABLE {} DROP COLUMN click_probability, DROP COLUMN purchase_probability").format(table))
        connection.execute(sql.SQL("CREATE VIEW recsys.recommendations AS SELECT * FROM {}").format(table))
    second = out(tmp_path / "second", ["a", "b", "c"], place.sink, day=1)
    assert first != second
    assert place.served() == (second.name, as_lists(second))


@POSTGRES_ALONE
def test_rows_that_read_back_differently_are_not_served(place: Place, tmp_path: Path) -> None:
    path = out(tmp_path, ["a", "b", "c"])
    said = json.loads((path / "manifest.json").read_text())

    class Changing(Night):
        """Its parts are others the second time."""

        def parts(self) -> Iterator[pl.DataFrame]:
            seen.append(None)
            return (part.with_columns(score=pl.col("score") + len(seen)) for part in super().parts())

    seen: list[None] = []
    with pytest.raises(PublishError, match="reads back differently"):
        place.sink.stage(Changing(path, said))
    assert place.nights() == set()


@POSTGRES_ALONE
def test_rights_on_the_view_outlive_the_nights(place: Place, tmp_path: Path) -> None:
    out(tmp_path, ["a", "b", "c"], place.sink)
    with psycopg.connect(place.address) as connection:
        connection.execute("DROP ROLE IF EXISTS shop")
        connection.execute("CREATE ROLE shop")
        connection.execute("GRANT USAGE ON SCHEMA recsys TO shop")
        connection.execute("GRANT SELECT ON recsys.recommendations TO shop")
    out(tmp_path, ["a", "b", "c"], place.sink, day=1, keep=1)
    with psycopg.connect(place.address) as connection:
        connection.execute("SET ROLE shop")
        assert connection.execute("SELECT count(*) FROM recsys.recommendations").fetchone() == (9,)
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY shop")
        connection.execute("DROP ROLE shop")


def test_addresses_come_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Publish(postgres_env="SHOP_PG", redis_env="SHOP_REDIS")
    monkeypatch.setenv("SHOP_PG", "postgresql://x")
    with pytest.raises(ConfigError, match=r"publish\.redis_env: the environment variable SHOP_REDIS is not set"):
        sinks_of(asked)
    monkeypatch.setenv("SHOP_REDIS", "redis://x")
    assert [sink.name for sink in sinks_of(asked)] == ["PostgreSQL", "Redis"]
    assert sinks_of(Publish()) == ()


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(sys.modules, f"recsys.publish.{kind}", None)
    with pytest.raises(ConfigError, match=rf"pip install 'recsys\[{kind}\]'"):
        sinks_of(Publish(**{f"{kind}_env": "X"}))


def test_a_run_is_named_in_what_is_served(place: Place, tmp_path: Path) -> None:
    path = out(tmp_path, ["a", "b", "c"], place.sink)
    if place.kind == "postgres":
        with psycopg.connect(place.address) as connection:
            assert connection.execute("SELECT night_id, run_id, n_users, n_rows FROM recsys.nights").fetchall() == [
                (path.name, RUN_ID, 3, 9)
            ]
    else:
        said = json.loads(str(Redis.from_url(place.address, decode_responses=True).get(f"recsys:{path.name}")))
        assert (said["run_id"], said["n_users"], said["n_rows"]) == (RUN_ID, 3, 9)

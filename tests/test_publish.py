"""A night is published whole or not at all; what was served stays served."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.artefacts import Home
from recsys.errors import ArtefactError, TableError
from recsys.publish import Sink
from recsys.publish.parquet import ParquetSink
from recsys.schema import RECOMMENDATIONS

RUN_ID = "20261124-031500-ab12cd"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def lists(users: list[str], n_items: int = 3) -> pl.DataFrame:
    """Each user's list of `n_items` items, a RECOMMENDATIONS table."""
    rows = [(user, f"i{rank}", rank, 1.0 / rank, AS_OF, RUN_ID, "popular") for user in users for rank in range(1, n_items + 1)]
    schema = {column.name: column.dtype for column in RECOMMENDATIONS.columns}
    return pl.DataFrame(rows, schema=schema, orient="row")


def manifest(**more: object) -> dict[str, object]:
    return {"as_of": AS_OF.isoformat(), "run_id": RUN_ID, "config_hash": "ab12cd345678", **more}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def sink(home: Home) -> Sink:
    return ParquetSink(home.nights)


def test_a_published_night_holds_every_list_and_says_what_it_is(home: Home, sink: Sink) -> None:
    chunks = [lists(["a", "b"]), lists(["c"], 2)]
    folder = Path(sink.publish(iter(chunks), manifest(seconds=10.0)))
    assert folder == home.nights / f"20261124-000000_{RUN_ID}"
    assert pl.read_parquet(folder / "recommendations").equals(pl.concat(chunks))
    said = json.loads((folder / "manifest.json").read_text())
    assert (said["run_id"], said["as_of"], said["config_hash"]) == (RUN_ID, "2026-11-24T00:00:00+00:00", "ab12cd345678")
    assert (said["n_users"], said["n_rows"]) == (3, 8)
    assert 10.0 < said["seconds"] < 20.0
    assert sorted(said["digests"]) == ["recommendations/part-00000.parquet", "recommendations/part-00001.parquet"]
    home.night().verify()
    assert home.night().path == folder


def test_columns_that_are_not_of_the_table_are_not_published(sink: Sink) -> None:
    folder = sink.publish(iter([lists(["a"]).with_columns(secret=1)]), manifest())
    assert pl.read_parquet(Path(folder) / "recommendations").columns == RECOMMENDATIONS.names


def test_the_same_lists_give_the_same_bytes_and_a_night_published_twice_keeps_both(home: Home, sink: Sink) -> None:
    first, second = (Path(sink.publish(iter([lists(["a", "b"])]), manifest())) for _ in range(2))
    assert second.name == first.name + "-2"
    assert home.night().path == second
    digests = [json.loads((folder / "manifest.json").read_text())["digests"] for folder in (first, second)]
    assert digests[0] == digests[1]


def failing() -> Iterator[pl.DataFrame]:
    yield lists(["a"])
    raise ValueError("the ranker died")


def duplicate_rank() -> Iterator[pl.DataFrame]:
    yield lists(["a", "b"])
    yield lists(["c"]).with_columns(rank=pl.Series([1, 1, 2], dtype=pl.Int32))


def gap_in_ranks() -> Iterator[pl.DataFrame]:
    yield lists(["a"]).with_columns(rank=pl.Series([1, 2, 4], dtype=pl.Int32))


def rank_from_zero() -> Iterator[pl.DataFrame]:
    yield lists(["a"]).with_columns(rank=pl.col("rank") - 1)


def item_twice() -> Iterator[pl.DataFrame]:
    yield lists(["a", "b"]).with_columns(item_id=pl.lit("i1"))


def user_in_two_chunks() -> Iterator[pl.DataFrame]:
    yield lists(["a", "b"])
    yield lists(["b"])


def wrong_type() -> Iterator[pl.DataFrame]:
    yield lists(["a"]).with_columns(pl.col("rank").cast(pl.Int64))


def no_row() -> Iterator[pl.DataFrame]:
    yield lists([])


@pytest.mark.parametrize(
    ("chunks", "error", "words"),
    [
        (failing, ValueError, "the ranker died"),
        (duplicate_rank, ArtefactError, r"part-00001.parquet: 1 of 1 users have ranks .*user_id=c"),
        (gap_in_ranks, ArtefactError, "1 of 1 users have ranks"),
        (rank_from_zero, ArtefactError, "1 of 1 users have ranks"),
        (item_twice, ArtefactError, r"2 of 2 users have an item twice \(first: user_id=a\)"),
        (user_in_two_chunks, ArtefactError, "1 users have rows in more than one chunk"),
        (wrong_type, TableError, "'rank' is Int64, not Int32"),
        (no_row, ArtefactError, "no list to publish"),
        (lambda: iter([]), ArtefactError, "no list to publish"),
    ],
)
def test_bad_lists_are_refused_and_last_night_stays_served(home: Home, sink: Sink, chunks, error: type[Exception], words: str) -> None:
    last = Path(sink.publish(iter([lists(["a"])]), manifest()))
    before = sorted(home.nights.rglob("*"))
    with pytest.raises(error, match=words):
        sink.publish(chunks(), manifest(run_id="20261125-031500-ab12cd"))
    assert sorted(home.nights.rglob("*")) == before
    assert home.night().path == last
    home.night().verify()


def test_one_chunk_is_drawn_at_a_time_and_written_before_the_next(home: Home, sink: Sink) -> None:
    seen: list[int] = []

    def chunks() -> Iterator[pl.DataFrame]:
        for n in range(3):
            seen.append(len(list(home.nights.glob(".draft-*/recommendations/*.parquet"))))
            yield lists([f"u{n}"])

    sink.publish(chunks(), manifest())
    assert seen == [0, 1, 2]


def test_a_night_killed_in_the_middle_is_not_served(home: Home, sink: Sink) -> None:
    last = sink.publish(iter([lists(["a"])]), manifest())
    script = f"""
import sys, time, pathlib
sys.path.insert(0, "tests")
from test_publish import lists, manifest
from recsys.publish.parquet import ParquetSink
def chunks():
    yield lists(["a"])
    print("drawn", flush=True)
    time.sleep(60)
ParquetSink(pathlib.Path({str(home.nights)!r})).publish(chunks(), manifest(run_id="20261125-031500-ab12cd"))
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"drawn\n"
        child.send_signal(signal.SIGKILL)
    assert home.night().path == last
    assert sorted(name for name in os.listdir(home.nights) if not name.startswith(".draft-")) == [Path(last).name, "current"]


def test_nothing_published_yet_is_said(home: Home) -> None:
    with pytest.raises(ArtefactError, match=r"nothing is published yet.*recsys rank"):
        home.night()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=str(tmp_path / "file")):
        ParquetSink(tmp_path / "file" / "nights").publish(iter([lists(["a"])]), manifest())

"""A night is published whole or not at all; what was served stays served."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from toy_run import explained

from recsys.artefacts import Home
from recsys.errors import ArtefactError, PublishError, TableError
from recsys.publish import Night, Promise, publish
from recsys.schema import EXPLANATIONS, RECOMMENDATIONS

RUN_ID = "20261124-031500-ab12cd"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def lists(users: list[str], n_items: int = 3) -> pl.DataFrame:
    """Each user's list of `n_items` items, a RECOMMENDATIONS table."""
    rows = [
        (user, f"i{rank}", rank, 1.0 / rank, AS_OF, RUN_ID, "popular", None if rank == 2 else 0.5**rank, None)
        for user in users
        for rank in range(1, n_items + 1)
    ]
    schema = {column.name: column.dtype for column in RECOMMENDATIONS.columns}
    return pl.DataFrame(rows, schema=schema, orient="row")


def manifest(**more: object) -> dict[str, object]:
    return {"as_of": AS_OF.isoformat(), "run_id": RUN_ID, "config_hash": "ab12cd345678", **more}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def promise(**changes: Any) -> Promise:
    """Three users asked for, a third of them may go without, and i1 to i9 are on offer."""
    return Promise(**{"n_asked": 3, "fewest_share": 0.3, "offered": pl.Series([f"i{n}" for n in range(1, 10)])} | changes)


def out(home: Home, chunks: Iterator[pl.DataFrame], **more: object) -> Path:
    return publish(chunks, manifest(**more), home.nights, promise())


def test_a_published_night_holds_every_list_and_says_what_it_is(home: Home) -> None:
    chunks = [lists(["a", "b"]), lists(["c"], 2)]
    folder = out(home, iter(chunks), seconds=10.0)
    assert folder == home.nights / f"20261124-000000_{RUN_ID}"
    assert pl.read_parquet(folder / "recommendations").equals(pl.concat(chunks))
    said = json.loads((folder / "manifest.json").read_text())
    assert (said["run_id"], said["as_of"], said["config_hash"]) == (RUN_ID, "2026-11-24T00:00:00+00:00", "ab12cd345678")
    assert (said["n_users"], said["n_rows"]) == (3, 8)
    assert 10.0 < said["seconds"] < 20.0
    assert sorted(said["digests"]) == ["recommendations/part-00000.parquet", "recommendations/part-00001.parquet"]
    home.night().verify()
    assert home.night().path == folder


def test_columns_that_are_not_of_the_table_are_not_published(home: Home) -> None:
    folder = out(home, iter([lists(["a"]).with_columns(secret=1)]))
    assert pl.read_parquet(Path(folder) / "recommendations").columns == RECOMMENDATIONS.names


def test_the_same_lists_give_the_same_bytes_and_a_night_published_twice_keeps_both(home: Home) -> None:
    first, second = (out(home, iter([lists(["a", "b"])])) for _ in range(2))
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


def not_on_offer() -> Iterator[pl.DataFrame]:
    yield pl.concat([lists(["a"]), lists(["b"], 10)])


def score_that_is_none() -> Iterator[pl.DataFrame]:
    yield lists(["a"]).with_columns(score=pl.lit(float("nan")))


def wrong_type() -> Iterator[pl.DataFrame]:
    yield lists(["a"]).with_columns(pl.col("rank").cast(pl.Int64))


def no_row() -> Iterator[pl.DataFrame]:
    yield lists([])


@pytest.mark.parametrize(
    ("chunks", "error", "words"),
    [
        (failing, ValueError, "the ranker died"),
        (duplicate_rank, PublishError, r"part-00001: 1 of 1 users have ranks .*user_id=c"),
        (gap_in_ranks, PublishError, "1 of 1 users have ranks"),
        (rank_from_zero, PublishError, "1 of 1 users have ranks"),
        (item_twice, PublishError, r"2 of 2 users have an item twice \(first: user_id=a\)"),
        (user_in_two_chunks, PublishError, "1 users have rows in more than one chunk"),
        (wrong_type, TableError, "'rank' is Int64, not Int32"),
        (not_on_offer, PublishError, r"part-00000: 1 of 2 users have an item that is not on offer .*user_id=b"),
        (score_that_is_none, PublishError, "have a score that is no number"),
        (no_row, PublishError, "no list to publish"),
        (lambda: iter([]), PublishError, "no list to publish"),
    ],
)
def test_bad_lists_are_refused_and_last_night_stays_served(home: Home, chunks, error: type[Exception], words: str) -> None:
    last = out(home, iter([lists(["a"])]))
    before = sorted(home.nights.rglob("*"))
    with pytest.raises(error, match=words):
        out(home, chunks(), run_id="20261125-031500-ab12cd")
    assert sorted(home.nights.rglob("*")) == before
    assert home.night().path == last
    home.night().verify()


def test_explanations_are_written_in_parts_of_the_same_rows(home: Home) -> None:
    chunks = [explained(lists(["a", "b"]), 2), explained(lists(["c"], 2), 2)]
    folder = out(home, iter(chunks))
    assert pl.read_parquet(folder / "explanations").equals(pl.concat(chunks).select(EXPLANATIONS.names))
    assert pl.read_parquet(folder / "recommendations").columns == RECOMMENDATIONS.names
    assert [part.height for part in Night(folder, {}).explanations()] == [6, 2]
    home.night().verify()


def test_a_night_of_which_a_part_is_not_explained_is_refused(home: Home) -> None:
    with pytest.raises(PublishError, match="explanations: 1 of 2 parts are explained"):
        out(home, iter([explained(lists(["a"]), 2), lists(["b"])]))
    with pytest.raises(PublishError, match="explains other rows"):
        out(home, iter([lists(["a"]), explained(lists(["b"]), 2)]))


def test_one_chunk_is_drawn_at_a_time_and_written_before_the_next(home: Home) -> None:
    seen: list[int] = []

    def chunks() -> Iterator[pl.DataFrame]:
        for n in range(3):
            seen.append(len(list(home.nights.glob(".draft-*/recommendations/*.parquet"))))
            yield lists([f"u{n}"])

    out(home, chunks())
    assert seen == [0, 1, 2]


def test_a_night_killed_in_the_middle_is_not_served(home: Home) -> None:
    last = out(home, iter([lists(["a"])]))
    script = f"""
import sys, time, pathlib
sys.path.insert(0, "tests")
from test_publish import Home, lists, out
def chunks():
    yield lists(["a"])
    print("drawn", flush=True)
    time.sleep(60)
out(Home(pathlib.Path({str(home.folder)!r})), chunks(), run_id="20261125-031500-ab12cd")
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
        out(Home(tmp_path / "file"), iter([lists(["a"])]))


def test_a_night_that_leaves_too_many_without_a_list_is_refused(home: Home) -> None:
    with pytest.raises(PublishError, match=r"2 of 3 users have a list, publish.fewest_share asks for 99%"):
        publish(iter([lists(["a", "b"])]), manifest(), home.nights, promise(fewest_share=0.99))
    assert list(home.nights.iterdir()) == []


def test_who_is_meant_to_have_no_list_counts_for_no_share(home: Home) -> None:
    meant = promise(n_asked=100, fewest_share=0.99, n_meant_none=lambda: 97)
    assert publish(iter([lists(["a", "b", "c"])]), manifest(), home.nights, meant).is_dir()
    with pytest.raises(PublishError, match="3 of 4 users have a list"):
        publish(iter([lists(["a", "b", "c"])]), manifest(), home.nights, promise(n_asked=100, fewest_share=0.99, n_meant_none=lambda: 96))


def test_of_old_nights_the_latest_are_kept_and_the_served_one_always(home: Home) -> None:
    for day in (3, 1, 5, 2, 4):
        publish(iter([lists(["a"])]), manifest(as_of=f"2026-11-0{day}T00:00:00+00:00"), home.nights, promise(), keep=2)
    # The fourth of November is the last that was published; of the others only the two latest were ever kept.
    assert sorted(path.name[:8] for path in home.nights.glob("*/")) == ["20261104", "20261105"]
    assert home.night().path.name[:8] == "20261104"
    publish(iter([lists(["a"])]), manifest(as_of="2026-10-01T00:00:00+00:00"), home.nights, promise(), keep=2)
    assert sorted(path.name[:8] for path in home.nights.glob("*/")) == ["20261001", "20261104", "20261105"]


def test_a_night_is_read_a_part_at_a_time(home: Home) -> None:
    path = out(home, iter([lists(["a", "b"]), lists(["c"])]))
    night = Night(path, {})
    assert (night.night_id, night.n_parts) == (path.name, 2)
    assert [part["user_id"].unique().sort().to_list() for part in night.parts()] == [["a", "b"], ["c"]]

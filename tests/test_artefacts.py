"""An artefact is complete or absent, and loading never guesses."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import largest_file

from recsys.artefacts import Draft, Home, draft, new_run_id
from recsys.caches import VectorCache
from recsys.errors import ArtefactError

RUN_ID = "20261124-031500-ab12cd"
FRAME = pl.DataFrame({"item_id": ["a", "b", "c"], "price": [1.0, None, 3.0]})


def write_run(home: Home, run_id: str = RUN_ID) -> None:
    with draft(home.runs / run_id, {"as_of": "2026-11-24T00:00:00+00:00"}) as run:
        run.table("items", FRAME)
        run.table("text/vectors", FRAME)
        run.record("metrics", {"ndcg@10": 0.25})
        run.file("ranker.txt").write_text("tree")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_run_gives_back_what_was_written(home: Home) -> None:
    write_run(home)
    run = home.load(RUN_ID)
    assert run.table("items").equals(FRAME)
    assert run.scan("text/vectors").collect().equals(FRAME)
    assert run.record("metrics") == {"ndcg@10": 0.25}
    assert run.file("ranker.txt").read_text() == "tree"
    assert run.manifest["as_of"] == "2026-11-24T00:00:00+00:00"
    assert sorted(run.manifest["digests"]) == ["items.parquet", "metrics.json", "ranker.txt", "text/vectors.parquet"]
    run.verify()


def test_the_same_frame_gives_the_same_bytes(home: Home) -> None:
    frame = pl.DataFrame({"n": range(120_000), "text": [f"t{n % 97}" for n in range(120_000)]})
    for run_id in ("20261124-031500-aaaaaa", "20261124-031500-bbbbbb"):
        with draft(home.runs / run_id, {}) as run:
            run.table("rows", frame)
            run.record("metrics", {"b": 1, "a": 2})
    first, second = (home.load(run_id) for run_id in home.run_ids())
    assert first.manifest["digests"] == second.manifest["digests"]


def test_row_groups_are_bounded(home: Home) -> None:
    with draft(home.runs / RUN_ID, {}) as run:
        run.table("rows", pl.DataFrame({"n": range(100_001)}))
        run.table("small", pl.DataFrame({"n": range(1000)}), row_group_size=300)
    import pyarrow.parquet as pq

    run = home.load(RUN_ID)
    for name, most in (("rows", 50_000), ("small", 300)):
        meta = pq.ParquetFile(run.file(f"{name}.parquet")).metadata
        assert max(meta.row_group(group).num_rows for group in range(meta.num_row_groups)) <= most
        assert meta.row_group(0).column(0).compression == "ZSTD"
        assert meta.row_group(0).column(0).statistics.has_min_max


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_an_error_in_the_middle_leaves_no_trace(home: Home, error: BaseException) -> None:
    write_run(home)
    home.point(RUN_ID)

    def write() -> None:
        with draft(home.runs / "20261125-000000-ffffff", {}) as run:
            run.table("items", FRAME)
            raise error

    with pytest.raises(type(error)):
        write()
    assert sorted(path.name for path in home.runs.iterdir()) == [RUN_ID, "current", "pointed.json"]
    home.load().verify()


def test_a_process_killed_in_the_middle_leaves_no_run_and_its_rest_is_swept_a_day_later(home: Home) -> None:
    write_run(home)
    home.point(RUN_ID)
    script = f"""
import pathlib, time, polars as pl
from recsys.atomic import draft
with draft(pathlib.Path({str(home.runs / "20261125-000000-ffffff")!r}), {{}}) as run:
    run.table("items", pl.DataFrame({{"a": [1]}}))
    print("written", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.send_signal(signal.SIGKILL)
    assert home.run_ids() == [RUN_ID]
    home.load().verify()
    (rest,) = home.runs.glob(".draft-*")
    assert home.sweep() == []  # it may still be written to
    for path in [*rest.rglob("*"), rest]:
        os.utime(path, (1, 1))
    assert home.sweep() == [rest]
    assert sorted(path.name for path in home.runs.iterdir()) == [RUN_ID, "current", "pointed.json"]


@pytest.mark.parametrize("place", ["runs", "caches", "snapshots", "nights"])
def test_drafts_of_killed_processes_are_swept_from_every_place(home: Home, place: str) -> None:
    rest = getattr(home, place) / ".draft-left-1-abc"
    rest.mkdir(parents=True)
    os.utime(rest, (1, 1))
    assert home.sweep() == [rest]
    assert not rest.exists()


def test_what_is_finished_is_never_written_over(home: Home) -> None:
    write_run(home)
    with pytest.raises(ArtefactError, match="already there"), draft(home.runs / RUN_ID, {}):
        pass
    late = draft(home.runs / "20261125-000000-ffffff", {})
    late.__enter__()
    late.record("metrics", {})
    write_run(home, "20261125-000000-ffffff")  # another process was faster
    with pytest.raises(ArtefactError, match="already there"):
        late.__exit__(None, None, None)
    assert home.load("20261125-000000-ffffff").record("metrics") == {"ndcg@10": 0.25}
    home.load(RUN_ID).verify()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "manifest"])
def test_a_name_outside_the_artefact_is_refused(home: Home, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"), draft(home.runs / RUN_ID, {}) as run:
        run.record(name, {})
    assert home.run_ids() == []


def test_a_record_refuses_what_json_has_not(home: Home) -> None:
    with pytest.raises(ValueError, match="JSON"), draft(home.runs / RUN_ID, {}) as run:
        run.record("metrics", {"ndcg": float("nan")})


def test_the_pointer_names_complete_runs_only_and_moves_in_one_step(home: Home) -> None:
    assert home.current() is None
    write_run(home)
    home.point(RUN_ID)
    assert home.current() == home.load().run_id == RUN_ID
    (home.runs / "20261125-000000-ffffff").mkdir()
    for run_id in ("20261125-000000-ffffff", "20261126-000000-ffffff"):
        with pytest.raises(ArtefactError):
            home.point(run_id)
    with largest_file(3), pytest.raises(ArtefactError, match="untouched"):
        home.point(RUN_ID)
    assert home.current() == RUN_ID
    assert not list(home.runs.glob(".draft-*"))


def test_run_ids_are_the_complete_runs_oldest_first(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    assert home.run_ids() == []
    later = "20261125-000000-000000"
    write_run(home, later)
    write_run(home)
    (home.runs / "20261126-000000-000000").mkdir()
    assert home.run_ids() == [RUN_ID, later]
    assert "20261126-000000-000000" in caplog.text


def test_loading_says_what_is_wrong_and_what_to_do(home: Home) -> None:
    with pytest.raises(ArtefactError, match=r"no run is current.*recsys train"):
        home.load()
    with pytest.raises(ArtefactError, match=r"there is no 'x' here.*models list"):
        home.load("x")
    write_run(home)
    for name in ("../runs/" + RUN_ID, str(home.runs / RUN_ID), ".", "..", "current"):
        with pytest.raises(ArtefactError, match="there is no"):
            home.load(name)
    with pytest.raises(ArtefactError, match=r"holds no users.parquet \(it holds items.parquet"):
        home.load(RUN_ID).table("users")


def test_a_pointer_to_a_run_that_is_gone_is_no_guess_at_another(home: Home) -> None:
    write_run(home)
    write_run(home, "20261125-000000-ffffff")
    home.point(RUN_ID)
    (home.runs / RUN_ID).rename(home.folder / "away")
    with pytest.raises(ArtefactError, match=RUN_ID):
        home.load()


def rewrite_manifest(home: Home, **changes: object) -> None:
    path = home.runs / RUN_ID / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda home: (home.runs / RUN_ID / "manifest.json").unlink(), "is incomplete: it has no manifest.json"),
        (lambda home: (home.runs / RUN_ID / "text" / "vectors.parquet").unlink(), "1 files are missing or cut short: text/vectors.parquet"),
        (lambda home: os.truncate(home.runs / RUN_ID / "items.parquet", 10), "cut short: items.parquet"),
        (lambda home: os.truncate(home.runs / RUN_ID / "manifest.json", 10), "manifest.json: cannot be read"),
        (lambda home: rewrite_manifest(home, version=99), "written in format 99; this recsys reads format 1"),
        (lambda home: rewrite_manifest(home, sizes={}), "does not list the files"),
    ],
)
def test_a_harmed_run_is_refused(home: Home, harm, words: str) -> None:
    write_run(home)
    harm(home)
    with pytest.raises(ArtefactError, match=words):
        home.load(RUN_ID)
    assert home.run_ids() == []


def test_verify_finds_a_changed_byte_and_a_damaged_table_is_an_artefact_error(home: Home) -> None:
    write_run(home)
    path = home.runs / RUN_ID / "items.parquet"
    path.write_bytes(b"\0" * path.stat().st_size)
    run = home.load(RUN_ID)
    with pytest.raises(ArtefactError, match=r"1 files were changed .*items.parquet"):
        run.verify()
    with pytest.raises(ArtefactError, match=r"items.parquet: cannot be read"):
        run.table("items")


NUMBERS = np.random.default_rng(1).random(50_000)


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.table("numbers", pl.DataFrame({"n": NUMBERS})),
        lambda run: run.record("numbers", {"n": NUMBERS.tolist()}),
        lambda run: run.file("ranker.txt").write_bytes(NUMBERS.tobytes()),
    ],
    ids=["table", "record", "file"],
)
def test_a_full_disk_is_named_with_its_path_and_nothing_is_lost(home: Home, write: Callable[[Draft], object]) -> None:
    write_run(home)
    home.point(RUN_ID)
    full = pytest.raises(ArtefactError, match=r"20261125-000000-ffffff.*untouched\. Free some space")
    with full, largest_file(50_000), draft(home.runs / "20261125-000000-ffffff", {}) as run:
        write(run)
    assert sorted(path.name for path in home.runs.iterdir()) == [RUN_ID, "current", "pointed.json"]
    home.load().verify()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (Home(tmp_path / "file" / "home"), Home(Path("/proc/recsys"))):
        with pytest.raises(ArtefactError, match=f"{home.folder}.*set project.folder"), draft(home.runs / RUN_ID, {}):
            pass
        with pytest.raises(ArtefactError), home.scratch("text"):
            pass
        with pytest.raises(ArtefactError):
            VectorCache(home.caches).add("h", ["a"], np.ones((1, 2), np.float32))
        assert home.current() is None
        assert home.run_ids() == []
        assert home.sweep() == []


def test_an_error_of_the_caller_that_is_not_of_this_disk_stays_itself(home: Home) -> None:
    with pytest.raises(FileNotFoundError), draft(home.runs / RUN_ID, {}):
        Path("/nowhere/at/all").read_text()


def test_scratch_is_gone_afterwards(home: Home) -> None:
    with home.scratch("text") as folder:
        (folder / "a").write_text("a")
    with pytest.raises(ValueError, match="bad"), home.scratch("text"):
        raise ValueError("bad")
    assert list(home.caches.iterdir()) == []


def test_a_run_id_is_the_utc_second_and_the_config() -> None:
    now = datetime(2026, 11, 24, 4, 15, 0, 999, timezone(timedelta(hours=1)))
    assert new_run_id(now, "ab12cd345678") == new_run_id(now.astimezone(UTC), "ab12cd345678") == RUN_ID
    with pytest.raises(ValueError, match="time zone"):
        new_run_id(datetime(2026, 11, 24), "ab12cd345678")


def test_there_is_no_pickle_in_a_run(home: Home) -> None:
    write_run(home)
    assert {path.suffix for path in home.runs.rglob("*") if path.is_file()} == {".parquet", ".json", ".txt"}


texts = st.dictionaries(st.text("0123456789abcdef", min_size=1, max_size=8), st.floats(-9, 9, width=32), max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.lists(texts, max_size=4))
def test_the_vector_cache_holds_the_latest_vector_of_every_text(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[dict[str, float]]
) -> None:
    cache = VectorCache(tmp_path_factory.mktemp("cache"))
    expected: dict[str, float] = {}
    for entries in rounds:
        cache.add("enc", list(entries), np.array([[value, -value] for value in entries.values()], np.float32).reshape(-1, 2))
        expected |= entries
    hashes, vectors = cache.load("enc")
    assert hashes == sorted(expected)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(
        vectors.reshape(-1, 2), np.array([[expected[h], -expected[h]] for h in hashes], np.float32).reshape(-1, 2)
    )


def test_the_vector_cache_keeps_encoders_apart_and_its_bytes_do_not_depend_on_the_order(tmp_path: Path) -> None:
    one, two = VectorCache(tmp_path / "1"), VectorCache(tmp_path / "2")
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    one.add("enc", ["c", "a", "b"], vectors)
    two.add("enc", ["b"], vectors[2:])
    two.add("enc", ["a", "c"], vectors[[1, 0]])
    assert (tmp_path / "1" / "enc.safetensors").read_bytes() == (tmp_path / "2" / "enc.safetensors").read_bytes()
    assert one.load("other")[0] == []


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_a_damaged_vector_cache_is_empty_with_a_warning_and_is_made_again(tmp_path: Path, content: bytes | None, caplog) -> None:
    cache, path = VectorCache(tmp_path), tmp_path / "enc.safetensors"
    cache.add("enc", ["a", "b"], np.ones((2, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-3] if content is None else content)
    with caplog.at_level(logging.WARNING):
        assert cache.load("enc")[0] == []
    assert "damaged" in caplog.text
    cache.add("enc", ["z"], np.ones((1, 4), np.float32))
    assert cache.load("enc")[0] == ["z"]


def test_a_full_disk_leaves_the_vector_cache_as_it_was(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.add("enc", ["a"], np.ones((1, 64), np.float32))
    with largest_file(20_000), pytest.raises(ArtefactError, match="Free some space"):
        cache.add("enc", [f"{n:x}" for n in range(1000)], np.ones((1000, 64), np.float32))
    assert cache.load("enc")[0] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["enc.safetensors"]

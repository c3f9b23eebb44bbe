"""`recsys forget USER`: no row of a user stays, nobody else loses one, nothing brings them back, and what may remember is named."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from toy_run import RUN_ID, USERS, empty_project, with_night, with_run

from recsys import face
from recsys.artefacts import Home
from recsys.atomic import MANIFEST, draft
from recsys.cli import main
from recsys.errors import ArtefactError, BusyError, ConfigError
from recsys.lock import alone
from recsys.pipeline import forgetting, tables

GONE = USERS[3]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = empty_project(tmp_path)[1]
    with_run(home)
    with_night(home)
    return home


def forget(home: Home, user_id: str = GONE) -> forgetting.Forgotten:
    with face.job(home.folder.parent / "recsys.toml") as job:
        return forgetting.forget(job, user_id)


def rows_by_file(home: Home) -> dict[str, pl.DataFrame]:
    files = [path for path in home.folder.rglob("*.parquet") if "user_id" in pl.read_parquet_schema(path)]
    return {str(path.relative_to(home.folder)): pl.read_parquet(path) for path in files}


def test_no_file_of_the_project_names_the_user_and_all_others_keep_every_row(home: Home) -> None:
    before = rows_by_file(home)
    done = forget(home)
    after = rows_by_file(home)
    assert before.keys() == after.keys()
    assert sum(done.rows.values()) == sum(frame.filter(pl.col("user_id") == GONE).height for frame in before.values()) > 0
    for name, frame in before.items():
        assert after[name].equals(frame.filter(pl.col("user_id") != GONE)), name
    named = [path for path in home.folder.rglob("*") if path.is_file() and GONE.encode() in path.read_bytes()]
    assert not named


def test_what_was_finished_stays_finished(home: Home) -> None:
    served = home.night().run_id
    forget(home)
    night = home.night()
    night.verify()
    home.load(RUN_ID).verify()
    home.tables("toytables").verify()
    rows = pl.read_parquet(night.path / "recommendations")
    assert (night.run_id, night.manifest["n_users"], night.manifest["n_rows"]) == (served, rows["user_id"].n_unique(), rows.height)


def test_what_a_registered_model_holds_of_the_user_goes_too(home: Home) -> None:
    packed = home.folder / "mlartifacts" / "1" / "models" / "m-1" / "artifacts" / "project" / "tables" / "toytables"
    shutil.copytree(home.snapshots / "toytables", packed)
    assert any(place.startswith("mlartifacts") for place in forget(home).rows)
    assert GONE not in pl.read_parquet(packed / "events.parquet")["user_id"].to_list()


def test_runs_that_may_remember_and_raw_files_are_named(home: Home, tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["forget", GONE, "--config", str(tmp_path / "recsys.toml")])
    assert said.exit_code == 0
    assert RUN_ID in said.output
    assert "your own files (events.csv)" in said.output
    again = CliRunner().invoke(main, ["forget", GONE, "--config", str(tmp_path / "recsys.toml")])
    assert again.exit_code == 0
    assert "No row of this user was found" in again.output


def test_the_raw_files_do_not_bring_the_user_back(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    items = pl.DataFrame({"item_id": ["a", "b"], "title": ["Lamp", "Chair"]})
    rows = [("u1", "a", "click", "2026-01-01"), ("u2", "b", "click", "2026-01-02"), ("u1", "?", "click", "2026-01-03")]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event_type", "event_time"], orient="row")
    items.write_csv(tmp_path / "items.csv")
    events.write_csv(tmp_path / "events.csv")
    with face.job(path) as job:
        assert tables.tables(job).table("events")["user_id"].to_list() == ["u1", "u2"]
    forget(home, "u1")
    more = pl.concat([events, pl.DataFrame([("u1", "b", "click", "2026-01-04")], schema=events.schema, orient="row")])
    more.write_csv(tmp_path / "events.csv")
    with face.job(path) as job:
        read = tables.tables(job)
        assert read.table("events")["user_id"].to_list() == ["u2"]
        assert read.record("counts")["events forgotten"] == 2
    held = [path.read_bytes() for path in home.folder.rglob("*") if path.is_file()]
    assert not any(b"u1" in content for content in held if content[:4] != b"PAR1")
    for path in home.folder.rglob("rejects.parquet"):
        assert pl.read_parquet(path)["content"].to_list() == ["{}"]


def test_cut_short_at_any_file_it_is_put_right_by_the_next_try(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows_by_file(home)
    replace, calls = os.replace, [0]
    for most in range(1, 12):
        calls[0] = 0

        def cut(source: str, target: str, most: int = most) -> None:
            calls[0] += 1
            if calls[0] > most:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                forget(home)
            except KeyboardInterrupt:
                continue
            break
    else:
        raise AssertionError("it never came to its end")
    assert most > 3
    for name, frame in rows_by_file(home).items():
        assert frame.equals(whole[name].filter(pl.col("user_id") != GONE))
    for artefact in (home.night(), home.load(RUN_ID), home.tables("toytables")):
        artefact.verify()


def test_what_killed_processes_left_half_written_goes_too(home: Home) -> None:
    cut = draft(home.nights / "20991231-000000_x", {})
    cut.__enter__()
    cut.table("recommendations/part-00000", pl.DataFrame({"user_id": [GONE]}))
    forget(home)
    assert not cut.path.exists()


def test_an_empty_id_a_night_at_work_and_a_damaged_list_are_refused_with_nothing_changed(home: Home) -> None:
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="empty"):
        forget(home, "")
    with alone(home.folder, "recsys rank"), pytest.raises(BusyError, match="recsys rank"):
        forget(home)
    (home.folder / "forgotten.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"forgotten\.json: is damaged"):
        forget(home)
    (home.folder / "forgotten.json").unlink()
    assert before.items() <= {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}.items()


def test_a_folder_without_a_manifest_is_left_as_it_is(home: Home) -> None:
    (home.nights / "half").mkdir()
    (home.nights / "half" / "x.parquet").write_bytes(b"PAR1")
    forget(home)
    assert (home.nights / "half" / "x.parquet").read_bytes() == b"PAR1"
    assert not (home.nights / "half" / MANIFEST).exists()


def test_what_a_check_found_goes_and_no_later_one_names_the_user(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    pl.DataFrame({"item_id": ["a", "b"], "title": ["Lamp", "Chair"]}).write_csv(tmp_path / "items.csv")
    rows = [("who-1", "a", "click", "2026-01-01"), ("who-2", "b", "click", "2026-01-02"), ("who-1", "?", "click", "2026-01-03")]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event_type", "event_time"], orient="row")
    events.write_csv(tmp_path / "events.csv")

    def check() -> str:
        return CliRunner().invoke(main, ["check", "--config", str(path)]).output + (home.folder / "checks.json").read_text()

    assert "who-1" in check()
    forget(home, "who-1")
    assert not (home.folder / "checks.json").exists()
    found = check()
    assert "who-1" not in found
    assert "1 events" in found  # the rejected line is still counted


def test_the_list_holds_digests_and_no_id(home: Home) -> None:
    forget(home)
    forget(home, USERS[4])
    listed = json.loads((home.folder / "forgotten.json").read_text())["sha256"]
    assert len(listed) == 2
    assert all(len(digest) == 64 for digest in listed)

"""The way back: by the order in which runs became current, whatever their names, the clock, or a hand at the pointer say."""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.atomic import point, pointed
from recsys.errors import ArtefactError
from recsys.pointer import before, turn, turn_back


def stack_of(folder: Path) -> list[str]:
    """All that rollbacks lead through, the present one first; the pointer is put back afterwards."""
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    names = [pointed(folder) or "nothing"]
    while (earlier := before(folder)) is not None:
        turn_back(folder, earlier)
        names.append(pointed(folder) or "nothing")
    for path, content in kept.items():
        path.write_bytes(content)
    return names


def test_a_rollback_goes_back_in_the_order_of_the_pointer_not_of_the_names(tmp_path: Path) -> None:
    # The clock went back an hour between the two trainings: the later one has the earlier name.
    later, earlier = "20261124-031500-aaaaaa", "20261124-021500-bbbbbb"
    turn(tmp_path, later, "train")
    turn(tmp_path, earlier, "train")
    assert before(tmp_path) == later


def test_a_second_rollback_goes_further_back_and_not_to_and_fro(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        turn(tmp_path, name, "train")
    turn_back(tmp_path, "b")
    assert (pointed(tmp_path), before(tmp_path)) == ("b", "a")
    turn_back(tmp_path, "a")
    assert (pointed(tmp_path), before(tmp_path)) == ("a", None)


def test_every_turn_is_kept_with_its_time_also_those_that_were_taken_back(tmp_path: Path) -> None:
    turn(tmp_path, "a", "train")
    turn(tmp_path, "b", "promote")
    turn_back(tmp_path, "a")
    turns = json.loads((tmp_path / "pointed.json").read_text())["turns"]
    assert [(one["run_id"], one["by"]) for one in turns] == [("a", "train"), ("b", "promote"), ("a", "rollback")]
    assert all(one["time"].endswith("+00:00") for one in turns)


NAMES = st.sampled_from(["a", "b", "c"])
MOVES = st.lists(st.one_of(st.tuples(st.just("turn"), NAMES), st.just(("back", "")), st.tuples(st.just("by hand"), NAMES)), max_size=12)


@settings(deadline=None, max_examples=50)
@given(MOVES)
def test_the_way_back_is_that_of_a_stack_of_names(moves: list[tuple[str, str]]) -> None:
    stack: list[str] = []
    now: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for move, to in moves:
            # A hand at the pointer is noticed at the next turn: of several in a row the last one counts.
            known = stack if stack[-1:] == now else [*stack, *now]
            assert before(folder) == (known[-2] if len(known) > 1 else None)
            if move == "by hand":
                point(folder, to)
            elif move == "turn":
                turn(folder, to, "promote")
                stack = known if known[-1:] == [to] else [*known, to]
            elif len(known) > 1:
                turn_back(folder, known[-2])
                stack = known[:-1]
            else:
                continue
            now = [to] if move == "by hand" else stack[-1:]
            assert [pointed(folder)] == now


def test_a_project_of_before_the_file_has_its_pointer_as_the_beginning(tmp_path: Path) -> None:
    point(tmp_path, "a")
    assert before(tmp_path) is None
    turn(tmp_path, "b", "train")
    assert before(tmp_path) == "a"


DIE = """
import os, pathlib, signal, sys
from recsys import atomic, pointer
replacing, left = atomic.replacing, int(sys.argv[2])
def dying(path):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replacing(path)
atomic.replacing = pointer.replacing = dying
getattr(pointer, sys.argv[3])(pathlib.Path(sys.argv[1]), sys.argv[4], *sys.argv[5:])
"""


@pytest.mark.parametrize(
    ("call", "n_written", "way"),
    [
        (("turn", "c", "train"), 0, ["b", "a"]),
        (("turn", "c", "train"), 1, ["c", "b", "a"]),
        (("turn_back", "a"), 0, ["b", "a"]),
        (("turn_back", "a"), 1, ["b", "a"]),
    ],
)
def test_a_process_that_dies_between_the_two_files_leaves_a_way_back_that_was_really_gone(tmp_path, call, n_written, way) -> None:
    turn(tmp_path, "a", "train")
    turn(tmp_path, "b", "train")
    child = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), str(n_written), *call], cwd=Path(__file__).parents[1], check=False)
    assert child.returncode == -signal.SIGKILL
    assert stack_of(tmp_path)[: len(way)] == way


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"turns": [1]}', b'{"turns": [{"run_id": "a"}]}', b'{"turns": [{"run_id"']
)
def test_a_damaged_file_is_set_aside_and_said_and_the_pointer_stays(tmp_path: Path, content: bytes, caplog) -> None:
    turn(tmp_path, "a", "train")
    turn(tmp_path, "b", "train")
    (tmp_path / "pointed.json").write_bytes(content)
    assert before(tmp_path) is None
    assert "pointed.json.damaged" in caplog.text
    assert (tmp_path / "pointed.json.damaged").read_bytes() == content
    assert pointed(tmp_path) == "b"
    turn(tmp_path, "c", "train")
    assert before(tmp_path) == "b"


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    turn(tmp_path, "a", "train")
    (tmp_path / "pointed.json").unlink()
    (tmp_path / "pointed.json").mkdir()
    with pytest.raises(ArtefactError, match=r"pointed\.json"):
        before(tmp_path)

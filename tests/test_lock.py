"""One command that writes at a time; a lock of the dead holds nobody up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import BusyError
from recsys.lock import alone

HOLD = """
import sys, time, pathlib
from recsys.lock import alone
with alone(pathlib.Path(sys.argv[1]), "recsys train"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_a_second_command_is_refused_at_once_and_told_who_is_at_work(tmp_path: Path) -> None:
    with holder(tmp_path / "new" / "home") as child:
        with (
            pytest.raises(BusyError, match=rf"recsys train, process {child.pid} on .* since .* UTC is at work here"),
            alone(tmp_path / "new" / "home", "recsys rank"),
        ):
            pass
        child.kill()


def test_the_lock_of_a_killed_process_is_gone_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with holder(tmp_path) as child:
        child.send_signal(signal.SIGKILL)
    with alone(tmp_path, "recsys rank"):
        assert f"process {os.getpid()}" in (tmp_path / "lock").read_text()
    assert f"process {child.pid} on" in caplog.text
    assert "ended without a word" in caplog.text


def test_one_after_the_other_both_have_it_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for command in ("recsys train", "recsys rank"):
        with alone(tmp_path, command):
            assert command in (tmp_path / "lock").read_text()
    assert caplog.text == ""
    with pytest.raises(ValueError, match="broke"), alone(tmp_path, "recsys train"):
        raise ValueError("broke")
    assert (tmp_path / "lock").read_text() == ""

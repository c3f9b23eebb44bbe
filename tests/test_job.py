"""What a command knows of itself: its peak memory."""

import subprocess
import sys

HELD_MB = 800

CHILD = "from recsys.pipeline.job import peak_memory_mb; print(peak_memory_mb())"
PARENT = (
    f"import numpy, subprocess, sys; held = numpy.ones({HELD_MB} * 2**17); subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"
)


def peak_by(code: str) -> float:
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_the_peak_is_that_of_this_program_and_not_of_the_one_that_started_it() -> None:
    assert 20 < peak_by(CHILD) < HELD_MB / 2
    assert peak_by(PARENT) < HELD_MB / 2


def test_the_peak_counts_what_was_held_and_let_go() -> None:
    held = f"import numpy; numpy.ones({HELD_MB} * 2**17); "
    assert peak_by(held + CHILD) > HELD_MB

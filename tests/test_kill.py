"""Killed at any moment, train, rank and nightly leave served what was good; started again, they end with what they had made undisturbed."""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import polars as pl
from worlds import checkerboard, write_world

from recsys.artefacts import Home, Run
from recsys.atomic import pointed

N_KILLS = {"train": 25, "rank": 25, "nightly": 6}
"""Of each command, at most; nightly is the other two, and what is between them."""

SHORT = {
    "text": {"warm_steps": 20, "steps": 4, "check_steps": 2, "blend_steps": 20, "refresh_steps": 2},
    "ranker": {"trees": 5},
    "evaluate": {"bootstrap": 10},
    "rank": {"chunk_users": 4},
    "tracking": {"enabled": False},
}
"""Short enough to be killed often, with every phase in it; a night of several parts."""

NURSERY = """
import os, pathlib, sys
import torch
from recsys import face
from recsys.pipeline import nightly, ranking, training
torch.set_num_threads(1)
for line in sys.stdin:
    command, config = line.split(maxsplit=1)
    child = os.fork()
    if not child:
        with face.job(pathlib.Path(config.strip())) as job:
            if command == "train":
                training.train(job)
            elif command == "rank":
                ranking.rank(job, None, None, None, None, None, False)
            else:
                assert nightly.nightly(job).exit_code == 0
        os._exit(0)
    print(child, flush=True)  # by the parent: a child that fails at once would leave the reader waiting
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Imports what takes seconds once, and has a child for each command: no thread has begun when it forks."""


class Nursery:
    """Runs commands one after the other, each in a process of its own that can be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, command: str, config: Path, kill_after: float | None) -> int:
        """Its exit code; -9 where it was still at work after so many seconds, and was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command} {config}\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None and not select.select([self._process.stdout], [], [], kill_after)[0]:  # it was done before
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self._process.stdout.readline())


def undisturbed(nursery: Nursery, command: str, config: Path) -> float:
    """Seconds that the command takes."""
    begun = time.monotonic()
    assert nursery.run(command, config, None) == 0
    return time.monotonic() - begun


def kill_often(command: str, config: Path, seconds: float, seed: int) -> int:
    """Kill it at so many random moments, then let it end; how often it was done before it was to be killed.

    A nightly job that is done has nothing more to do: it is killed until then.
    """
    home, draw = Home(config.parent / "runs"), random.Random(seed)
    killed = done = 0
    with Nursery() as nursery:
        while killed < N_KILLS[command] and not (command == "nightly" and done):
            before = good(command, home)
            code = nursery.run(command, config, draw.uniform(0, seconds))
            assert code in (0, -signal.SIGKILL)
            # Killed between its last step and its end, it has made the next one: what is served is whole in any case.
            after = good(command, home)
            assert after is not None or before is None
            assert after is not None or code
            killed, done = killed + bool(code), done + (not code)
        undisturbed(nursery, command, config)
    return done


def good(command: str, home: Home) -> Run | None:
    """What is served, whole and as it was written; None where nothing was ever served."""
    if pointed(home.runs if command == "train" else home.nights) is None:
        return None
    found = home.load() if command == "train" else home.night()
    found.verify()
    return found


def test_a_nightly_job_killed_at_any_moment_ends_with_what_it_makes_undisturbed(tmp_path: Path) -> None:
    world = checkerboard()
    places = {name: write_world(tmp_path / name, world.items, world.events, SHORT) for name in ("calm", "killed")}
    with Nursery() as nursery:
        seconds = undisturbed(nursery, "nightly", places["calm"])
    kill_often("nightly", places["killed"], seconds, 11)
    calm, killed = (Home(config.parent / "runs") for config in places.values())
    lists = [pl.read_parquet(home.night().path / "recommendations").drop("run_id") for home in (calm, killed)]
    assert lists[0].equals(lists[1])
    kept = [{name: d for name, d in home.night().manifest["digests"].items() if name.startswith("monitor/")} for home in (calm, killed)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 4
    readings = [home.readings().filter(pl.col("night_id") == home.night().run_id).drop("night_id") for home in (calm, killed)]
    assert readings[0].equals(readings[1])


def content(made: Run) -> dict[str, str]:
    """Digests of all that was made; reports and records hold times and the run's name."""
    return {name: digest for name, digest in made.manifest["digests"].items() if not name.endswith((".json", ".png", ".html"))}


def test_killed_at_any_moment_the_last_good_is_served_and_the_end_is_the_same(tmp_path: Path) -> None:
    world = checkerboard()
    config = write_world(tmp_path / "calm", world.items, world.events, SHORT)
    with Nursery() as nursery:
        seconds = {command: undisturbed(nursery, command, config) for command in ("train", "rank")}
    for command in seconds:
        shutil.copytree(config.parent, tmp_path / command)
    shutil.rmtree(tmp_path / "train" / "runs")
    with ThreadPoolExecutor(2) as both:
        places = {command: tmp_path / command / config.name for command in seconds}
        list(both.map(lambda command: kill_often(command, places[command], seconds[command], 7), seconds))
    for command in seconds:
        made, expected = (good(command, Home(folder / "runs")) for folder in (tmp_path / command, tmp_path / "calm"))
        assert made is not None
        assert expected is not None
        assert content(made) == content(expected) != {}

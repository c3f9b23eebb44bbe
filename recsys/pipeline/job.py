"""What one command works with: config, folders, the clock of each stage, progress on stderr."""

import os
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsys.artefacts import Home
from recsys.config import Config

STAGES = ("ingest", "text", "candidates", "features", "ranker", "evaluate", "refit")


class Display:
    """Bars with the remaining time on stderr; where stderr is no terminal, one line a finished piece of work.

    Of several workers (`text.workers`) the main one alone speaks.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
        columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` pieces of `what` are done; the bar goes when all are."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
            self._begun[what] = time.perf_counter()
        self._bars.update(self._tasks[what], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))
            if not self._console.is_terminal:
                self.say(f"{what}: {total} in {time.perf_counter() - self._begun[what]:.0f} s")

    def say(self, line: str) -> None:
        """One line to stderr."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Silent(Display):
    """Shows nothing: of work that is one of many."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""


@dataclass
class Clock:
    """Seconds spent in each stage, by all threads together."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    only: str | None = None
    _adding: Lock = field(default_factory=Lock, repr=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the `with` to a stage; inside `all_to` it goes there instead."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            if self.only is None:
                with self._adding:
                    self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    @contextmanager
    def all_to(self, name: str) -> Iterator[None]:
        """Everything inside counts for one stage (the refit runs all stages again)."""
        with self.stage(name):
            self.only = name
            try:
                yield
            finally:
                self.only = None


@dataclass
class Job:
    """One command at work."""

    config: Config
    base: Path
    now: datetime
    display: Display
    clock: Clock = field(default_factory=Clock)

    @property
    def home(self) -> Home:
        """The project's folder."""
        return Home((self.base / self.config.project.folder).resolve())

    @property
    def threads(self) -> int:
        """Threads to use."""
        return self.config.project.threads or len(os.sched_getaffinity(0))


def peak_memory_mb() -> float:
    """The most memory this program has held so far, or since `begin_peak_memory`, MB.

    The kernel's own count, where there is one: that of `getrusage` begins with what the process that started this one had held.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def begin_peak_memory() -> None:
    """Let `peak_memory_mb` count from now on, where the kernel can (Linux); elsewhere it goes on counting from the program's start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def utc_now() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)

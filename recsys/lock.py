"""One command that writes at a time in a project's folder: two nights never overlap, and a killed one leaves no lock behind."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from recsys.atomic import disk
from recsys.errors import BusyError

log = logging.getLogger(__name__)

NAME = "lock"


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """For the length of the `with`, no other process is in such a `with` of this folder. Raises BusyError where one is, at once.

    The lock is the kernel's (flock), on the file `lock`: it ends with its process, however that ends. What the file says is for people.
    """
    path = folder / NAME
    with disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{folder}: {_said(file.name) or 'another command'} is at work here. Wait for it, or stop it; nothing was done."
            ) from None
        if left := _said(file.name):
            log.warning("%s: %s ended without a word (killed?); its lock is gone with it, going on", folder, left)
        file.truncate(0)
        file.write(f"{command}, process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _said(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip()

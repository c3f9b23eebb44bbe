"""Real servers for the sinks' tests: a PostgreSQL and a Redis of their own, on sockets of their own, gone with the tests."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis, RedisError

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
SECONDS = 60


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a fresh PostgreSQL. Skips where there is none."""
    if not POSTGRES:
        pytest.skip("PostgreSQL is not on this machine")
    programs = POSTGRES[-1].parent
    # The server refuses to be root.
    owner = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="recsys-pg-"))
    shutil.chown(folder, owner)
    as_owner = {"user": owner} if os.getuid() == 0 else {}
    cold = ["-A", "trust", "-U", "postgres", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
    subprocess.run([programs / "initdb", "-D", folder / "db", *cold], check=True, capture_output=True, cwd=folder, **as_owner)  # type: ignore[call-overload]
    settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with subprocess.Popen(
        [programs / "postgres", "-D", folder / "db", *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **as_owner,  # type: ignore[call-overload]
    ) as server:
        try:
            address = f"postgresql://postgres@/postgres?host={folder}"
            _wait(lambda: psycopg.connect(address).close(), psycopg.OperationalError)
            yield address
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM would wait for every client to go
            server.wait(SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """The address of a fresh Redis. Skips where there is none."""
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("Redis is not on this machine")
    folder = Path(tempfile.mkdtemp(prefix="recsys-redis-"))
    settings = ["--port", "0", "--unixsocket", str(folder / "socket"), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL) as server:
        try:
            address = f"unix://{folder / 'socket'}"
            _wait(lambda: Redis.from_url(address).ping(), RedisError)
            yield address
        finally:
            server.terminate()
            server.wait(SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(ask: Callable[[], object], refusal: type[Exception]) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            ask()
        except refusal:
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        else:
            return

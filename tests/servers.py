"""Real servers for the tests: PostgreSQL, Redis and MLflow, each of its own, gone with the tests."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """The address of an MLflow tracking server and registry over `folder`/mlflow.db, which may be there already."""
    stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "files")]
    with mlflow(["server", *stores, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"], port, "/health"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def mlflow(arguments: list[str], port: int, path: str, **environment: str) -> Iterator[None]:
    """`mlflow ARGUMENTS` as a process, once it answers GET `path` with 200; it and all that it started are gone afterwards."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    path_first = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # it starts uvicorn by name
    with tempfile.TemporaryDirectory(prefix="recsys-mlflow-") as folder, Path(folder, "log").open("w+b") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments],
            env=os.environ | quiet | path_first | environment,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )

        def ask() -> None:
            assert server.poll() is None, Path(log.name).read_text()
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()

        try:
            _wait(ask, OSError, 3 * SECONDS)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(SECONDS)


def _wait(ask: Callable[[], object], refusal: type[Exception], seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            ask()
        except refusal:
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        else:
            return

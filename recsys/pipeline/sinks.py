"""The sinks that the config names beside the folder: their addresses come out of the environment, so that no run keeps a password."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from recsys.config import Publish
from recsys.errors import ConfigError
from recsys.publish import Sink


def sinks_of(asked: Publish) -> tuple[Sink, ...]:
    """Raises ConfigError where an environment variable is empty or a library is not installed: before anything is ranked."""
    sinks: list[Sink] = []
    if asked.postgres_env:
        with _library("postgres"):
            from recsys.publish.postgres import PostgresSink
        sinks.append(PostgresSink(_address("postgres", asked.postgres_env), asked.postgres_schema))
    if asked.redis_env:
        with _library("redis"):
            from recsys.publish.redis import RedisSink
        sinks.append(RedisSink(_address("redis", asked.redis_env), asked.redis_prefix))
    return tuple(sinks)


def _address(kind: str, name: str) -> str:
    address = os.environ.get(name, "")
    if not address:
        raise ConfigError(f"publish.{kind}_env: the environment variable {name} is not set. Give it the address, or take the line away.")
    return address


@contextmanager
def _library(kind: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise ConfigError(f"publish.{kind}_env: its library is not here. Install it: pip install 'recsys[{kind}]'.") from None

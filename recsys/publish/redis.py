"""The Redis sink: one key a user and night, and a pointer that is written last.

    <prefix>:<night id>:<user_id>   JSON: [{"item_id", "rank", "score", "reason", "click_probability", "purchase_probability"}, ...],
                                    best first; a probability is null where it is unknown
    <prefix>:<night id>             JSON: the night's as_of, run_id, n_users, n_rows
    <prefix>:current                the night id that is served
    <prefix>:nights                 the nights that are kept, oldest first
    <prefix>:staged                 nights that are being written

A reader takes `current`, then the user's key. The night before stays at least until the next switch, so that nobody who has
just read the pointer finds nothing.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
import redis

from recsys.errors import PublishError
from recsys.publish.parts import Night
from recsys.schema import CHANCES

FIELDS = ("item_id", "rank", "score", "reason", *CHANCES)
BATCH = 1000
"""Keys of one round trip."""

FEWEST_KEPT = 2
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class RedisSink:
    """Serves under `<prefix>:` of the server at `address` (redis://...), which no message repeats."""

    address: str
    prefix: str
    name: str = "Redis"

    def stage(self, night: Night) -> None:
        """Write every user's list under the night's own keys, pipelined, and read each back."""
        with self._server() as server:
            self._drop_strays(server)
            server.sadd(self._key("staged"), night.night_id)
            for part in night.parts():
                for batch in _batches(self._lists(night, part)):
                    pipeline = server.pipeline(transaction=False)
                    pipeline.mset(batch)
                    pipeline.mget(list(batch))
                    if pipeline.execute()[1] != list(batch.values()):
                        raise PublishError(f"{self.name}: lists of {night.night_id} read back differently from what was written.")
            said = {key: night.manifest[key] for key in ("as_of", "run_id", "n_users", "n_rows")}
            server.set(self._key(night.night_id), json.dumps(said))

    def switch(self, night: Night, keep: int) -> None:
        """Point to the night, then remove the keys of those before the latest `keep`, and at least the one before."""
        with self._server() as server:
            with server.pipeline(transaction=True) as both:
                both.rpush(self._key("nights"), night.night_id)
                both.set(self._key("current"), night.night_id)
                both.srem(self._key("staged"), night.night_id)
                both.execute()
            if keep:
                old = server.lrange(self._key("nights"), 0, -max(keep, FEWEST_KEPT) - 1)
                for night_id in map(str, old):
                    self._remove(server, night_id)
                    server.lrem(self._key("nights"), 0, night_id)

    def drop(self, night: Night) -> None:
        """Remove the night's keys."""
        with self._server() as server:
            self._remove(server, night.night_id)
            server.srem(self._key("staged"), night.night_id)

    def forget(self, user_id: str) -> int:
        """Remove the user's keys of every night; returns how many rows they held."""
        with self._server() as server:
            nights = {*map(str, server.lrange(self._key("nights"), 0, -1)), *map(str, server.smembers(self._key("staged")))}
            keys = [self._key(f"{night_id}:{user_id}") for night_id in sorted(nights)]
            held = [json.loads(value) for value in server.mget(keys) if value] if keys else []
            if held:
                server.unlink(*keys)
        return sum(map(len, held))

    def _drop_strays(self, server: "redis.Redis") -> None:
        """Keys of nights that were staged and never served: their process was killed in between."""
        for stray in map(str, server.smembers(self._key("staged"))):
            self._remove(server, stray)
            server.srem(self._key("staged"), stray)

    def _lists(self, night: Night, part: pl.DataFrame) -> Iterator[tuple[str, str]]:
        rows = part.sort("user_id", "rank").select("user_id", pl.struct(FIELDS).alias("one"))
        for user_id, ones in rows.group_by("user_id", maintain_order=True).agg("one").iter_rows():
            yield self._key(f"{night.night_id}:{user_id}"), json.dumps(ones, ensure_ascii=False)

    def _remove(self, server: "redis.Redis", night_id: str) -> None:
        for batch in _batches((key, "") for key in server.scan_iter(match=_literal(self._key(f"{night_id}:")) + "*", count=BATCH)):
            server.unlink(*batch)
        server.unlink(self._key(night_id))

    def _key(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    @contextmanager
    def _server(self) -> Iterator["redis.Redis"]:
        try:
            with redis.Redis.from_url(
                self.address, decode_responses=True, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
            ) as server:
                yield server
        except (redis.RedisError, ValueError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise PublishError(f"{self.name}, prefix {self.prefix}: {said}.") from None


def _batches(pairs: Iterator[tuple[str, str]]) -> Iterator[dict[str, str]]:
    batch: dict[str, str] = {}
    for key, value in pairs:
        batch[key] = value
        if len(batch) == BATCH:
            yield batch
            batch = {}
    if batch:
        yield batch


def _literal(text: str) -> str:
    """Text as a pattern of Redis that matches it alone."""
    return "".join(f"\\{character}" if character in "*?[]^\\" else character for character in text)

"""Where the nightly lists go. A sink publishes all of a night or nothing; the last good night stays served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import polars as pl


class Sink(Protocol):
    """A place that recommendations are served from."""

    def publish(self, lists: Iterator[pl.DataFrame], manifest: dict[str, Any]) -> Path | str:
        """Publish chunks of a RECOMMENDATIONS table, all rows of a user in one chunk, and say where they lie.

        `lists` is drawn from once, chunk by chunk. Whatever it raises, and whatever is wrong with the lists, leaves what
        is served as it was.
        """

"""What every sink can do."""

from typing import Protocol

from recsys.publish.parts import Night


class Sink(Protocol):
    """A place that recommendations are served from, beside the folder of Parquet.

    `stage` and `drop` leave what is served as it was, whatever happens in them. All raise PublishError where the place does not answer.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    def stage(self, night: Night) -> None:
        """Write a night beside what is served, read it back, and compare every row. Raises PublishError where they differ."""

    def switch(self, night: Night, keep: int) -> None:
        """Serve a staged night, in one step; then forget what came before the latest `keep` nights (0: forget none)."""

    def drop(self, night: Night) -> None:
        """Take away a staged night that is not to be served."""

    def forget(self, user_id: str) -> int:
        """Remove the user's rows from every night that is kept; returns how many."""

"""The rules of the shop over chunks of scored candidates: read once for a moment, asked chunk by chunk, counted, and promised."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import candidates, rules
from recsys.config import Config
from recsys.errors import PublishError
from recsys.pipeline.chances import Chances
from recsys.pipeline.snapshot import Chunk, Snapshot
from recsys.pipeline.tables import events_of
from recsys.publish import REFUSED, Hard, Rest
from recsys.schema import INTERACTIONS

N_TOLD = 3
"""Rules that a message names: those that take most."""


def book_of(config: Config, known: Snapshot, users: pl.LazyFrame | None) -> rules.Book:
    """The rules on the items as known at a moment; `item.price` is what features know: that of the latest event, else of the list."""
    items = known.catalogue.items.with_columns(price=known.items.values["item_price"])
    return rules.Book.of(config.rules, items, columns_of(users), known.eligible, known.text.vectors.get(candidates.TEXT))


def columns_of(users: pl.LazyFrame | None) -> pl.DataFrame:
    """The columns of the users' table, of no user."""
    return users.head(0).collect() if users is not None else pl.DataFrame()


def ruled(
    book: rules.Book, chunk: Chunk, score: NDArray[np.float64], chances: Chances, users: pl.LazyFrame | None, task: str
) -> rules.Ruled:
    """A chunk's candidates under the rules."""
    ids = chunk.block.history.user_ids
    known = pl.DataFrame(ids)
    if users is not None:
        known = known.join(events_of(users, ids), on="user_id", how="left", maintain_order="left")
    return rules.Ruled(book, rules.Asked(chunk.block.history, known, chunk.pool.user, chunk.pool.item, score, task == "new", chances))


@dataclass
class Ruling:
    """The rules of one night at work: lists of k places, `tally` of what each rule did, `hard` what the written lists are held to.

    book: None where no rule is set; then nothing is placed, counted or said.
    """

    book: rules.Book | None
    users: pl.LazyFrame | None
    task: str
    k: int
    hard: Hard
    tally: rules.Tally = field(default_factory=rules.Tally)

    @classmethod
    def of(cls, config: Config, known: Snapshot, events: pl.LazyFrame, users: pl.LazyFrame | None, k: int) -> "Ruling":
        """Raises SourceError where a condition does not fit the tables: before anybody is ranked."""
        book = book_of(config, known, users) if config.rules.names else None
        return cls(book, users, config.project.task, k, hard_of(config, known, events, users))

    def placed(self, chunk: Chunk, score: NDArray[np.float64], chances: Chances) -> rules.Placed | None:
        """The lists of a chunk, counted, with the rules that acted on each row."""
        if self.book is None:
            return None
        found = ruled(self.book, chunk, score, chances, self.users, self.task)
        self.tally.add(found, self.k)
        if self.book.rules.min_score is not None:
            self.hard.floors.append(pl.DataFrame({"user_id": chunk.block.history.user_ids, "floor": found.floor}))
        return replace(found.placed(self.k), acted=found.acted(self.k))

    @property
    def notes(self) -> list[str]:
        """What can never come true tonight."""
        return list(self.book.notes(self.k)) if self.book else []

    def record(self) -> dict[str, Any]:
        """What the night's manifest says of the rules."""
        return {"rules": {"set": self.book.rules.model_dump(mode="json"), "notes": self.notes, **self.tally.record()}} if self.book else {}

    def said(self) -> list[str]:
        """How many lists the rules made shorter, and which did. Raises PublishError where nobody has a list."""
        tally = self.tally
        if self.book is None:
            return []
        if tally.none == tally.n_users:
            removing = _most({name: change.removed for name, change in tally.by_rule.items()}, "rows removed")
            raise PublishError(
                f"rules: leave none of {tally.n_users:,} users anything ({removing or 'there was nothing to list'}). {REFUSED} "
                "A condition that is not TRUE, as of a user who is not in the table of users, is not met: look at [rules]."
            )
        short = _most({name: change.short for name, change in tally.by_rule.items()}, "lists made shorter")
        line = f"rules: {tally.together.short:,} of {tally.n_users:,} users have a shorter list by them, {tally.none:,} have none"
        meant = f", {tally.unlikely:,} of these because nothing is likely enough" if tally.unlikely else ""
        return [f"{line}{meant} ({short})" if short else f"{line}{meant}"]


def _most(counts: dict[str, int], what: str) -> str:
    """The rules of the largest counts, each alone; empty where all are 0."""
    largest = sorted(((count, name) for name, count in counts.items() if count), reverse=True)[:N_TOLD]
    return f"{what} by each alone: " + ", ".join(f"{name} {count:,}" for count, name in largest) if largest else ""


def hard_of(config: Config, known: Snapshot, events: pl.LazyFrame, users: pl.LazyFrame | None) -> Hard:
    """The rules that no written list may break; without any, what the task asks."""
    asked, items = config.rules, known.catalogue.items.with_columns(price=known.items.values["item_price"])
    rests = {}
    if config.project.task == "new":
        rests["project.task = new"] = Rest(INTERACTIONS, None)
    if asked.seen_days:
        rests["rules.seen_days"] = Rest(INTERACTIONS, asked.seen_days)
    if "bought_days" in asked.names:
        rests["rules.bought_days"] = Rest(("purchase",), asked.bought_days, asked.bought_days_by_category)
    conditions = {f"rules.eligible.{name}": text for name, text in asked.eligible.items()}
    caps = {f"rules.caps.{column}": (column, most) for column, most in asked.caps.items()}
    least = {f"rules.{name}": asked_for for name, asked_for in asked.least_chances.items()}
    return Hard(known.as_of, items, users, events, conditions, caps, rests, rules.PINNED, least=least)

"""What the text model learns of and is judged by beside the histories: impression lists and disliked items, block by block of users."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from recsys import metrics, timeline
from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.config import Config
from recsys.pipeline.snapshot import everyones_history
from recsys.pipeline.tables import events_by_user
from recsys.schema import TIME
from recsys.text import InterestModel
from recsys.text.shown import Shown
from recsys.text.signals import disliked_items

JUDGED_LISTS = 20_000
"""Held-out lists that the classification report is made of: seeded ones are taken up to here."""


def shown_lists(events: pl.LazyFrame, catalogue: Catalogue, users: pl.Series, start: datetime, end: datetime, config: Config) -> Shown:
    """The impression lists of `users` (sorted) in `[start, end)`."""
    types, hours = config.events.types, config.text.follow_hours
    blocks = events_by_user(timeline.Window("shown", start, end).of(events), users)
    return Shown.joined([Shown.of(part.lazy(), catalogue, ids, start, end, types, hours) for ids, part in blocks])


def disliked(events: pl.LazyFrame, catalogue: Catalogue, users: pl.Series, end: datetime, config: Config) -> sparse.csr_array:
    """Sparse (n_users, n_items) bool: the items of which the last word of one of `users` (sorted) before `end` is against."""
    before = events.filter(pl.col("event_time") < pl.lit(end, TIME)).select("user_id", "item_id", "event_type", "event_time", "value")
    blocks = [disliked_items(part.lazy(), catalogue, ids, config.events.types) for ids, part in events_by_user(before, users)]
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))


@dataclass(frozen=True)
class HeldOutLists:
    """The lists that a model is judged by, in order of user and time, their users' histories, and which items have a text (n_items,).

    The earlier half of the lists chooses the score from which an item is called chosen; the later half is judged by it.
    """

    shown: Shown
    history: History
    has_text: Bools

    @classmethod
    def of(
        cls, events: pl.LazyFrame, catalogue: Catalogue, held_out: timeline.Window, has_text: Bools, config: Config
    ) -> "HeldOutLists | None":
        """The lists of a window, of users who ever acted; None where it has none."""
        is_listed = (pl.col("event_type") == "impression") & pl.col("request_id").is_not_null()
        if held_out.of(events).filter(is_listed).head(1).collect().is_empty():
            return None
        history = everyones_history(events, catalogue, held_out.end, config)
        shown = shown_lists(events, catalogue, history.user_ids, held_out.start, held_out.end, config)
        taken = np.random.default_rng(config.project.seed).permutation(len(shown))[:JUDGED_LISTS]
        return cls(shown.where(np.isin(np.arange(len(shown)), taken)), history, has_text) if len(shown) else None

    def figures(self, model: InterestModel, pooled: Floats) -> dict[str, Any]:
        """`metrics.classification` of the later lists by a model and its encoder's vectors (n_items, hidden); None where undefined."""
        shown = self.shown
        score = model.shown_scores(shown, self.history, model.item_vectors(pooled, self.has_text)).astype(np.float64)
        known, is_later = self.has_text[shown.item_index], self._is_later[shown.list_index]
        earlier, later = known & ~is_later, known & is_later
        line = metrics.best_threshold(shown.is_chosen[earlier], score[earlier])
        found = metrics.classification(shown.is_chosen[later], score[later], line)
        return {name: None if np.isnan(value) else value for name, value in found.items()}

    @property
    def counts(self) -> dict[str, int]:
        """How many lists choose the line, and how many are judged by it."""
        return {"lists_choosing": int((~self._is_later).sum()), "lists_judged": int(self._is_later.sum())}

    @property
    def _is_later(self) -> Bools:
        return np.asarray(self.shown.age_days <= np.median(self.shown.age_days))

"""A text model learned on any small world, through the text stage of the pipeline."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from worlds import END, START, config

from recsys.blocks import Catalogue, Floats, History
from recsys.pipeline.job import Display, Job
from recsys.pipeline.snapshot import TextSide, weights
from recsys.pipeline.texts import Texts, fit_texts, read_texts
from recsys.text import Fitted, item_texts, write_tiny_bert
from recsys.timeline import Window


class Listener(Display):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


class Learned(NamedTuple):
    """What the text stage made of a world: side.vectors, users (n_users, dim) as of END, and what it said."""

    texts: Texts
    side: TextSide
    fitted: Fitted
    catalogue: Catalogue
    users: Floats
    said: list[str]

    @property
    def scores(self) -> Floats:
        """(n_users, n_items), users and items in order of id."""
        return self.side.model.scale() * self.users @ self.side.vectors["text"].T


def job(folder: Path, changes: dict[str, dict[str, Any]] | None = None) -> Job:
    return Job(config(changes), folder, datetime.now(UTC), Listener())


def learn(folder: Path, items: pl.DataFrame, events: pl.DataFrame, changes: dict[str, dict[str, Any]] | None = None) -> Learned:
    """Train on the events between START and END with a tiny BERT whose vocabulary is that of the items' texts."""
    torch.set_num_threads(1)  # on a busy machine the threads of so small a model wait for one another
    at_work = job(folder, changes)
    template = at_work.config.text.template
    write_tiny_bert(folder / "tiny_bert", item_texts(items, template), seed=0, hidden=32, layers=2)
    catalogue = Catalogue.of(items)
    texts = read_texts(at_work, catalogue)
    side, fitted = fit_texts(at_work, texts, catalogue, events.lazy(), Window("text", START, END), None)
    user_ids = events["user_id"].unique().sort()
    history = History.of(events, catalogue, user_ids, END, weights(at_work.config))
    users = side.users(history)["text"][:, 0]
    assert isinstance(at_work.display, Listener)
    return Learned(texts, side, fitted, catalogue, users, at_work.display.said)


def is_sound(learned: Learned) -> bool:
    """Every number is one; vectors are of length 1, or 0 where there is no text."""
    lengths = np.linalg.norm(learned.side.vectors["text"], axis=1)
    losses = [row["loss"] for row in learned.fitted.curve if row["loss"] is not None]
    finite = all(
        np.isfinite(array).all() for array in (learned.side.vectors["text"], learned.side.frozen, learned.scores, np.array(losses))
    )
    return finite and bool(np.allclose(lengths, learned.texts.has_text, atol=1e-4))

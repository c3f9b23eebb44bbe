"""What a night keeps of itself, counted chunk by chunk while it is made: by it the next night can tell what has changed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import features, monitor
from recsys.artefacts import Run
from recsys.atomic import Draft
from recsys.blocks import Bools
from recsys.candidates import TEXT
from recsys.errors import ArtefactError
from recsys.pipeline.snapshot import Snapshot

LAYOUT = 1
"""Of what is kept: raised when a reader of the earlier one would misread the later."""

SCORE = "score"


class Watch:
    """Counts the features of all candidates, the scores of the lists, and the places that each item has in them."""

    def __init__(self, known: Snapshot) -> None:
        self.known = known
        self._grid = monitor.Grid([SCORE, *features.names()])
        self._places: NDArray[np.int64] = np.zeros(len(known.catalogue), np.int64)

    def see(self, frame: pl.DataFrame, lists: pl.DataFrame) -> None:
        """Count a chunk: the features of its candidates, and its RECOMMENDATIONS."""
        for name in features.names():
            self._grid.add(name, frame[name].to_numpy())
        self._grid.add(SCORE, lists["score"].cast(pl.Float32).to_numpy())
        self._places += np.bincount(self.known.catalogue.index_of(lists["item_id"]), minlength=len(self._places))

    @property
    def coverage(self) -> float:
        """The share of the items on offer that are in somebody's list."""
        return float(np.mean(self._places[self.known.eligible] > 0))

    @property
    def cold(self) -> float:
        """The share of all places that items without a single event have."""
        is_cold: Bools = self.known.items.values["item_since_first_event"].is_null().to_numpy()
        return float(self._places[is_cold].sum() / self._places.sum())

    @cached_property
    def values(self) -> pl.DataFrame:
        """The `Grid.table` of scores and features."""
        return self._grid.table()

    @cached_property
    def vectors(self) -> pl.DataFrame:
        """item_id, vector (dim float32) of the probes; no row where text has no part."""
        vectors, items = self.known.text.vectors.get(TEXT, self.known.text.frozen[:0]), self.known.catalogue.items["item_id"]
        rows = monitor.probes(items.head(len(vectors)), np.any(vectors != 0, axis=1))
        return pl.DataFrame({"item_id": items.gather(rows), "vector": vectors[rows]})

    def keep(self, night: Draft) -> None:
        """Write it into the night's folder."""
        night.table("monitor/values", self.values)
        night.table("monitor/vectors", self.vectors)
        night.record("monitor/lists", {"layout": LAYOUT, "coverage": self.coverage, "cold": self.cold})


@dataclass(frozen=True)
class Kept:
    """What an earlier night kept of itself: values and vectors as in `Watch`, lists: its coverage and cold."""

    night: Run
    values: pl.DataFrame
    vectors: pl.DataFrame
    lists: dict[str, Any]

    @classmethod
    def of(cls, night: Run) -> "Kept":
        """Raises ArtefactError where the night kept nothing, in another layout, or nothing that can be read."""
        if "monitor/lists.json" not in night.manifest["digests"]:
            raise ArtefactError(f"{night.path}: keeps nothing that a later night could be compared with. Another recsys made it.")
        lists = night.record("monitor/lists")
        if lists.get("layout") != LAYOUT:
            raise ArtefactError(f"{night.path}: keeps its figures in layout {lists.get('layout')!r}, this recsys reads {LAYOUT}.")
        return cls(night, night.table("monitor/values"), night.table("monitor/vectors"), lists)

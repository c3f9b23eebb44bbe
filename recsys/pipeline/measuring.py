"""A night measured against the one that is served, before it takes its place; and what happened of late, by item, category and topic."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from recsys import features, monitor, text
from recsys.artefacts import Home, Run
from recsys.atomic import Draft, pointed
from recsys.errors import ArtefactError, LimitError
from recsys.monitor import Reading
from recsys.pipeline.snapshot import Snapshot
from recsys.pipeline.watching import SCORE, Kept, Watch
from recsys.publish import PARTS, REFUSED, Night
from recsys.text.signals import is_short

NEW_DAYS = "new_days"
"""Days of events since the night before: below one, tonight's lists know nothing new."""


MEASURED = "monitor/measured"


@dataclass(frozen=True)
class Measured:
    """The readings of a night, the night it was compared with (None: with none), and what could not be compared, in words."""

    night_id: str
    as_of: datetime
    readings: list[Reading]
    compared_with: str | None
    notes: list[str]

    @classmethod
    def of(cls, night: Run) -> "Measured | None":
        """As a night kept it; None where it was never measured."""
        if f"{MEASURED}.json" not in night.manifest["digests"]:
            return None
        kept = night.record(MEASURED)
        readings = [Reading(**one) for one in kept["readings"]]
        return cls(night.run_id, datetime.fromisoformat(night.manifest["as_of"]), readings, kept["compared_with"], kept["notes"])

    def keep(self, night: Draft) -> None:
        """Write it into the folder of its night."""
        readings = [asdict(one) for one in self.readings]
        night.record(MEASURED, {"readings": readings, "compared_with": self.compared_with, "notes": self.notes})

    def table(self) -> pl.DataFrame:
        """As rows of MONITORING."""
        return monitor.table_of(self.readings, self.night_id, self.as_of)

    def refuse_failed(self) -> None:
        """Raise LimitError where a reading is beyond the limit from which nothing is published."""
        failed = [f"{one.measure} {one.key}".strip() + f" is {one.value:.3f}" for one in self.readings if one.status == "FAIL"]
        if failed:
            raise LimitError(f"{self.night_id}: {'; '.join(failed)}: beyond the second limit in [monitor]. {REFUSED} Look why.")


def measured(home: Home, tonight: Draft, watch: Watch, events: pl.LazyFrame) -> Measured:
    """Measure a night that is written and not yet published. events: all of them, EVENTS; `watch` saw every chunk of the night."""
    before, notes = _before(home, tonight)
    own = list(_own(watch, events))
    try:
        against = list(_against(before, tonight, watch, notes)) if before else []
    except (OSError, pl.exceptions.PolarsError, ArtefactError) as error:
        before, against, notes = None, [], [f"not compared: last night's files cannot be read: {error}"]
    return Measured(tonight.final.name, watch.known.as_of, [*own, *against], before.night.run_id if before else None, notes)


def _before(home: Home, tonight: Draft) -> tuple[Kept | None, list[str]]:
    """The served night, where it can be compared with; else why not."""
    if pointed(home.nights) is None:
        return None, ["the first night: there is none to compare it with"]
    try:
        kept = Kept.of(home.night())
    except ArtefactError as error:
        return None, [f"not compared with last night: {error}"]
    night_id, said = kept.night.run_id, kept.night.manifest
    if not said.get("is_everybody"):
        return None, [f"not compared: {night_id} has the lists of some users alone"]
    if datetime.fromisoformat(said["as_of"]) > datetime.fromisoformat(tonight.manifest["as_of"]):
        return None, [f"not compared: {night_id} is as of {said['as_of'][:16]}, later than tonight: did the tables go back in time?"]
    return kept, []


def _own(watch: Watch, events: pl.LazyFrame) -> Iterator[Reading]:
    """What needs no other night."""
    known, config = watch.known, watch.known.config
    yield from monitor.read("coverage", watch.coverage)
    yield from monitor.read("cold", watch.cold)
    for kind, n in monitor.volumes(events, known.as_of, list(config.events.types)).items():
        yield from monitor.read("events", n, key=kind)
    counts = monitor.reactions(events, known.as_of, is_short(config.events.types))
    for key, times in monitor.surges(counts, _levels(known), config.monitor.surge_events):
        yield from monitor.read("surge", times, config.monitor.surge, key)


def _levels(known: Snapshot) -> pl.DataFrame:
    """item_id, category and topic of every item. Topics are of the vectors of the untrained encoder, which no training turns."""
    topic = monitor.topics(known.text.frozen, known.config.project.seed)
    names = monitor.topic_names(text.item_texts(known.catalogue.items, known.config.text.template), topic)
    of_item = pl.Series("topic", [names[place] if place >= 0 else None for place in topic], dtype=pl.String)
    return known.catalogue.items.select("item_id", "category", of_item)


def _against(before: Kept, tonight: Draft, watch: Watch, notes: list[str]) -> Iterator[Reading]:
    """What is compared with the night before; adds to `notes` what cannot be."""
    limits, said, now = watch.known.config.monitor, before.night.manifest, tonight.manifest
    same_run = said["run_id"] == now["run_id"]
    days = (datetime.fromisoformat(now["as_of"]) - datetime.fromisoformat(said["as_of"])) / timedelta(days=1)
    yield Reading(NEW_DAYS, "", days, "PASS" if days >= 1 else "WARN")
    if said["task"] == now["task"]:
        yield from monitor.read("churn", _churn(before.night.path, tonight.path, min(said["k"], now["k"])), limits.churn)
    else:
        notes.append(f"churn not compared: last night listed task {said['task']}, tonight {now['task']}")
    covered = before.lists["coverage"]
    yield from monitor.read("coverage_fall", max(0.0, 1 - watch.coverage / covered) if covered else None, limits.coverage_fall)
    yield from monitor.read("cold_change", abs(watch.cold - before.lists["cold"]), limits.cold_change)
    yield from _vectors(before, watch, same_run)
    if same_run:
        yield from monitor.read("score_drift", monitor.psi(before.values, watch.values, SCORE), limits.score_drift)
    else:
        notes.append(f"another run than last night ({said['run_id']}): scores, features of text and the category's code are not compared")
    for name in features.names():
        if same_run or not (features.is_text(name) or name == "item_category"):
            yield from monitor.read("feature_drift", monitor.psi(before.values, watch.values, name), limits.feature_drift, name)


def _churn(before: Path, now: Path, k: int) -> float | None:
    """The mean share of changed places over the users of both nights, a part at a time; None where nobody is in both."""
    n, total = 0, 0.0
    for part in Night(now, {}).parts():
        same = pl.col("user_id").is_between(pl.lit(part["user_id"].min()), pl.lit(part["user_id"].max()))
        earlier = pl.scan_parquet(before / PARTS).filter(same).select("user_id", "item_id", "rank").collect()
        shares = monitor.changed_places(earlier, part, k)["share"]
        n, total = n + len(shares), total + float(shares.sum())
    return total / n if n else None


def _vectors(before: Kept, watch: Watch, same_run: bool) -> Iterator[Reading]:
    limits = watch.known.config.monitor
    both = before.vectors.join(watch.vectors, on="item_id", how="inner", suffix="_now", maintain_order="left")
    if both.is_empty():
        return
    vectors = both["vector"].to_numpy(), both["vector_now"].to_numpy()
    if same_run:
        yield from monitor.read("vector_drift", monitor.changed_vectors(*vectors), limits.vector_drift)
    else:
        yield from monitor.read("neighbour_drift", monitor.neighbours_lost(*vectors), limits.neighbour_drift)

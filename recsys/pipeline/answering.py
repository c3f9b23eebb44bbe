"""A run as a model that answers by itself: the project's folder in small, and out of it the lists of any users, as of its last event.

    runs/<run id>/  tables/<digest>/  caches/vectors/

The run with its encoder, the tables it was made from, and the vectors of their items: nothing is looked for elsewhere. What answers is
what `recsys rank` ranks with.
"""

import shutil
from datetime import datetime
from pathlib import Path

import polars as pl

from recsys import config_file
from recsys.artefacts import Home, Run
from recsys.caches import VectorCache
from recsys.errors import ConfigError, DataError
from recsys.pipeline import tables as tables_of
from recsys.pipeline.job import Job, Silent, utc_now
from recsys.pipeline.ranking import make_ready, ruling_of
from recsys.schema import RECOMMENDATIONS

MOST = 10_000
"""Places of a list, as of `rank.k`."""


def pack(job: Job, run: Run, encoder_digest: str, folder: Path) -> None:
    """Write the model's files into `folder`. encoder_digest: of the run's encoder, whose vectors of the catalogue are kept."""
    home, vectors = Home(folder), VectorCache(job.home.caches / "vectors").file(encoder_digest)
    tables = job.home.tables(run.manifest["tables"])
    shutil.copytree(run.path, home.runs / run.run_id)
    shutil.copytree(tables.path, home.snapshots / tables.run_id)
    (home.caches / "vectors").mkdir(parents=True)
    shutil.copy(vectors, home.caches / "vectors")


class Answers:
    """The packed run, made ready once, as of the end of the events that it was made from, under the rules of its config."""

    def __init__(self, folder: Path) -> None:
        """Read what `pack` wrote. Raises ArtefactError where it is not complete."""
        (path,) = (folder / "runs").iterdir()
        run = Home(folder).load(path.name)
        made = config_file.parse(run.record("config"), f"config of run {run.run_id}")
        here = made.project.model_copy(update={"folder": "."})
        self._job = Job(made.model_copy(update={"project": here}), folder, utc_now(), Silent())
        tables = self._job.home.tables(run.manifest["tables"])
        items, events = tables_of.read(tables)
        self._users = tables_of.users(tables)
        self._ready = make_ready(self._job, run, items, events, datetime.fromisoformat(run.manifest["as_of"]))

    def __call__(self, user_ids: pl.Series, k: int) -> pl.DataFrame:
        """RECOMMENDATIONS of the users (n, String; each once, in this order): the best `k` of each, a newcomer's list for a stranger.

        Raises DataError where an id is missing or empty, ConfigError where no list can have `k` places.
        """
        if not 1 <= k <= MOST:
            raise ConfigError(f"k = {k}: a list cannot have so many places. Ask for 1 to {MOST:,}.")
        odd = (user_ids.is_null() | (user_ids == "")).arg_true()
        if len(odd):
            raise DataError(f"user_id: {len(odd)} of {len(user_ids)} are missing or empty (first: row {odd[0]}). Leave them out.")
        asked = user_ids.unique(maintain_order=True).rename("user_id")
        ruling = ruling_of(self._job, self._ready, self._users, k)
        lists = pl.concat([RECOMMENDATIONS.empty(), *self._ready.lists(self._job, asked.sort(), k, ruling)])
        return pl.DataFrame({"user_id": asked}).join(lists, on="user_id", how="inner", maintain_order="left_right")

"""The Python face: what the commands do, as four functions. Torch and LightGBM are imported inside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys import config_file
from recsys.artefacts import Run
from recsys.pipeline.job import Display, Job, utc_now


def train(config_path: str | Path, ablate: bool = False, promote: bool = False) -> Run:
    """`recsys train`: fit, judge, refit, and keep it as a run. Raises RecsysError as the command would print it.

    `ablate`: also find out whether the text paid, in `run.record("report")["ablation"]`. The first run of a project ranks; `promote`:
    ask the gate whether this one may, too. Where it is refused, `load_run` goes on to give the one that ranks.
    """
    from recsys.pipeline import promoting

    with job(Path(config_path)) as one:
        return promoting.train(one, ablate, promote)[0]


def rank(
    config_path: str | Path,
    run_id: str | None = None,
    as_of: datetime | None = None,
    users: str | Path | None = None,
    k: int | None = None,
    out: str | Path | None = None,
    allow_future_model: bool = False,
) -> Path:
    """`recsys rank`: publish the lists of all users, or of those in the file `users`; returns the published folder.

    `as_of` None: the midnight after the last event; without a zone it is UTC. Raises RecsysError as the command would print it.
    """
    from recsys.pipeline import ranking

    with job(Path(config_path)) as one:
        return ranking.rank(one, run_id, _utc(as_of), Path(users) if users else None, k, Path(out) if out else None, allow_future_model)


def suggest(
    config_path: str | Path, sentence: str, k: int | None = None, run_id: str | None = None, as_of: datetime | None = None
) -> pl.DataFrame:
    """`recsys suggest`: rank, item_id, title, score of the `k` eligible items that fit a sentence of declared interest, best first.

    k None: `rank.k` of the config; `as_of` None: the midnight after the last event; without a zone it is UTC.
    Raises RecsysError as the command would print it.
    """
    from recsys.pipeline import suggesting

    with job(Path(config_path)) as one:
        return suggesting.suggest(one, sentence, k, run_id, _utc(as_of))


def load_run(config_path: str | Path, run_id: str | None = None) -> Run:
    """A complete run: the one named, or the current one. Raises ArtefactError when it is absent, incomplete or of another version."""
    with job(Path(config_path)) as one:
        return one.home.load(run_id)


@contextmanager
def job(path: Path) -> Iterator[Job]:
    """A command's surroundings over a recsys.toml, with progress on stderr."""
    resolved = path.resolve()
    with Display() as display:
        yield Job(config_file.load(resolved), resolved.parent, utc_now(), display)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment

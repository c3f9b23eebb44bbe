"""What the commands have in common: options, and the job over a recsys.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from recsys.pipeline.job import Job

CONFIG = click.option("--config", "config_path", type=click.Path(path_type=Path), help="The recsys.toml. Default: found upwards from here.")

FORMAT = click.option(
    "--format", "how", type=click.Choice(["table", "json"]), default="table", show_default=True, help="For people or for programs."
)


@contextmanager
def open_job(config_path: Path | None) -> Iterator[Job]:
    """The job over the recsys.toml named, or found upwards from here."""
    from recsys import config_file, face

    with face.job(config_path or config_file.find(Path.cwd())) as job:
        yield job

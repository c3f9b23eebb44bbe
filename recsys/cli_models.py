"""`recsys models`: its commands."""

from __future__ import annotations

import json
from pathlib import Path

import click

from recsys.cli_options import CONFIG, FORMAT, open_job


@click.group()
def models() -> None:
    """The runs of the project, which of them ranks tonight, and a way back. The registry's alias `champion` follows.

    \b
    Example:  recsys models list
    """


@models.command("list")
@CONFIG
@FORMAT
def list_models(config_path: Path | None, how: str) -> None:
    """List the runs with what they reached, and say which one ranks. Also sends what waits for a tracking server.

    \b
    Example:  recsys models list --format json | jq '.runs[] | select(.is_current)'
    """
    from recsys import report
    from recsys.pipeline.models import settle

    with open_job(config_path) as job:
        registry = settle(job)
        found = report.models_object(job.home, registry.versions if registry else None)
    click.echo(json.dumps(found, indent=2) if how == "json" else report.models_text(found))


@models.command()
@click.argument("run_id", metavar="RUN")
@CONFIG
def promote(run_id: str, config_path: Path | None) -> None:
    """Let RUN rank from now on. Every byte of it is checked first. The last line of stdout is the run id alone.

    \b
    Example:  recsys models promote 20261124-031500-ab12cd
    """
    from recsys.pipeline.models import promote as run

    with open_job(config_path) as job:
        click.echo(run(job, run_id).run_id)


@models.command()
@CONFIG
def rollback(config_path: Path | None) -> None:
    """Let the run rank again that did so before the current one. The last line of stdout is the run id alone.

    \b
    Example:  recsys models rollback
    """
    from recsys.pipeline.models import rollback as run

    with open_job(config_path) as job:
        click.echo(run(job).run_id)

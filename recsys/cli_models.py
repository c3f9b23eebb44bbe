"""`recsys models`: its commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from recsys.cli_options import CONFIG, FORMAT, open_job


@click.group()
def models() -> None:
    """The runs of the project, which of them ranks tonight, the gate before that, and a way back. The registry's aliases follow.

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
@FORMAT
@click.option("--force", metavar="REASON", help="Let it rank whatever the gate says; the reason is kept with the decision.")
def promote(run_id: str, config_path: Path | None, how: str, force: str | None) -> None:
    """Ask the gate whether RUN may rank in the place of the run that does, and let it where it may. Exit 1 where it is refused.

    Every byte of it is checked first; the limits are in [promote] of the config. The last line of stdout is the run id alone, or
    REFUSED; with --format json it is one object.

    \b
    Example:  recsys models promote 20261124-031500-ab12cd
    """
    from recsys import report
    from recsys.pipeline.promoting import promote as run

    with open_job(config_path) as job:
        decision = run(job, run_id, force)
    code = report.gate_exit_code(decision)
    last = "REFUSED" if code else run_id
    click.echo(json.dumps(decision, indent=2) if how == "json" else f"{report.gate_text(decision)}\n{last}")
    sys.exit(code)


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

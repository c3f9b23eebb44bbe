"""`recsys compare`: its command."""

from __future__ import annotations

import json
from pathlib import Path

import click

from recsys.cli_options import CONFIG, FORMAT, open_job


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", required=False)
@CONFIG
@FORMAT
def compare(a: str, b: str | None, config_path: Path | None, how: str) -> None:
    """Compare two runs, A minus B: paired by user, by slice, whose lists changed most, and in what else they differ.

    A and B are run ids, or `current` and `before`; without B it is A against the current run. Where the two were asked different
    questions (another window, other tables) their figures are not compared, and it says why; all else still is.

    \b
    Example:  recsys compare before current
    """
    from recsys import report

    with open_job(config_path) as job:
        found = report.compared(job.home, report.versus(job.home, a, b))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) if how == "json" else report.compared_text(found))

"""`recsys backtest`: the command."""

from __future__ import annotations

import json
from pathlib import Path

import click

from recsys.cli_options import CONFIG, FORMAT, open_job


@click.command()
@CONFIG
@click.option(
    "--cutoffs", "n_cutoffs", type=click.IntRange(1, 1000), default=4, show_default=True, help="Cutoffs, the end of the data last."
)
@click.option("--every", "every_days", type=click.IntRange(1, 3650), help="Days from one to the next. Default: time.test_days.")
@FORMAT
def backtest(config_path: Path | None, n_cutoffs: int, every_days: int | None, how: str) -> None:
    """Fit and judge at several past cutoffs, as `train` does at the end of the data: how far do the figures spread over time?

    A fit at each cutoff; none of them ranks. One that was cut short goes on where it was. The last line of stdout is the folder
    of the result alone; with --format json it is one object.

    \b
    Example:  recsys backtest --cutoffs 6
    """
    from recsys import report
    from recsys.pipeline.backtest import backtest as run

    with open_job(config_path) as job:
        made = run(job, n_cutoffs, every_days)
    if how == "json":
        click.echo(json.dumps(report.backtest_object(made), indent=2, allow_nan=False))
        return
    click.echo(report.backtest_text(made))
    click.echo(made.path)

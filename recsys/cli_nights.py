"""`recsys show` and `recsys rules`: what a published night offers a user, and what the rules of the shop did to it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from recsys.cli_options import CONFIG, FORMAT, open_job


@click.command()
@click.argument("user_id", metavar="USER")
@CONFIG
@click.option("--night", "night_id", help="The night whose list is shown. Default: the one that is served.")
@FORMAT
def show(user_id: str, config_path: Path | None, night_id: str | None, how: str) -> None:
    """Show the list that a USER is offered tonight, why each item is in it, and what they did last.

    \b
    Example:  recsys show u00042 --format json | jq .list[0].title
    """
    from recsys import report

    with open_job(config_path) as job:
        shown = report.shown_user(job.home, night_id, user_id)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False) if how == "json" else report.user_text(shown))


@click.command()
@CONFIG
@click.option("--night", "night_id", help="The night whose rules are shown. Default: the one that is served.")
@FORMAT
def rules(config_path: Path | None, night_id: str | None, how: str) -> None:
    """Show what each rule of [rules] did to tonight's lists, and what it costs on the test window of the run that made them.

    \b
    Example:  recsys rules --format json | jq .tonight.together.short
    """
    from recsys import report

    with open_job(config_path) as job:
        found = report.ruled_night(job.home, night_id)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if how == "json" else report.ruled_text(found))

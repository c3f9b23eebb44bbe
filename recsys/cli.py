"""The command line: each command is its help, an example, and a few lines. Heavy libraries are imported inside commands."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recsys.cli_backtest import backtest
from recsys.cli_compare import compare
from recsys.cli_models import models
from recsys.cli_nights import rules, show
from recsys.cli_options import CONFIG, FORMAT, open_job
from recsys.errors import CheckError, ConfigError, RecsysError

if TYPE_CHECKING:
    from recsys.artefacts import Run


class Commands(click.Group):
    """A group that turns an error meant for the user into one message and an exit code; `--debug` shows the traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except RecsysError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"recsys: {error}", err=True)
            sys.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="recsys")
def main(debug: bool) -> None:
    """The recommender with a text brain that a small team can run every night and trust.

    \b
    Try it:  recsys demo
    """
    logging.basicConfig(format="%(message)s", level=logging.DEBUG if debug else logging.WARNING)


main.add_command(backtest)
main.add_command(models)
main.add_command(rules)
main.add_command(show)
main.add_command(compare)


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("demo_shop"), show_default=True, help="Where to make the shop.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Another seed is another shop.")
def demo(folder: Path, seed: int) -> None:
    """Make a small shop with text, train, rank, and say where to look: the tour.

    \b
    Example:  recsys demo --folder /tmp/shop
    """
    from recsys.demo.tour import tour

    for line in tour(folder, seed):
        click.echo(line)


@main.command()
@click.option("--events", required=True, help="What happened: a file, a folder, or a glob in quotes.")
@click.option("--items", help="The items and their texts, likewise. Default: the texts stand in the events.")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), default=Path("recsys.toml"), show_default=True, help="Where to write it."
)
def init(events: str, items: str | None, path: Path) -> None:
    """Look at your files and write a commented recsys.toml that works, or that says what could not be guessed. Then check it.

    Exit 1 where something has to be filled in, or a check fails. The last line of stdout is the file alone.

    \b
    Example:  recsys init --events 'logs/*.csv.gz' --items catalogue.parquet
    """
    from recsys import report
    from recsys.pipeline import checking, starting
    from recsys.pipeline.job import utc_now

    started = starting.start(events, items, path, utc_now())
    click.echo(report.started_text(started))
    failed: list[str] = []
    if not started.unknown:
        with open_job(path) as job:
            results = checking.check(job)
        click.echo(report.checks_table(results))
        failed = [result.name for result in results if result.status == "FAIL"]
    click.echo(path)
    if started.unknown or failed:
        raise CheckError(f"{path}: is written, and needs you: {', '.join((*started.unknown, *failed))}. Then look with `recsys check`.")


@main.command()
@CONFIG
@click.option("--leaks", is_flag=True, help="Also look for anything that tells the past what came later. Takes minutes.")
@FORMAT
def check(config_path: Path | None, leaks: bool, how: str) -> None:
    """Validate config and data by named checks: PASS, WARN or FAIL, with counts and first examples. Exit 1 on a FAIL.

    The thresholds are in [check] of the config. What was found is kept for the dashboard.

    \b
    Example:  recsys check --leaks --format json | jq '.checks[] | select(.status != "PASS")'
    """
    from recsys import report
    from recsys.pipeline.checking import check as run

    with open_job(config_path) as job:
        results = run(job, leaks)
    found = report.checks_object(results)
    click.echo(json.dumps(found, indent=2) if how == "json" else report.checks_table(results))
    job.home.keep_checks(found | {"made": job.now.isoformat()})
    failed = [result.name for result in results if result.status == "FAIL"]
    if failed:
        raise CheckError(f"{len(failed)} checks failed: {', '.join(failed)}. Mend what they name before training.")


@main.command()
@CONFIG
@click.option("--ablate", is_flag=True, help="Also find out whether the text paid: the ranker without it, with it untrained, and so on.")
@click.option("--promote", is_flag=True, help="Ask the gate at once whether the run may rank; exit 1 where it is refused.")
def train(config_path: Path | None, ablate: bool, promote: bool) -> None:
    """Fit the text model and the ranker, judge them on the test window, refit up to the end of the data, and keep that as a run.

    The first run of a project ranks; a later one when the gate lets it. The last line of stdout is the run id alone.

    \b
    Example:  recsys train --config examples/online_retail.toml
    """
    from recsys import report
    from recsys.pipeline import promoting

    with open_job(config_path) as job:
        made, decision = promoting.train(job, ablate, promote)
    click.echo("\n\n".join([_words(made), *([report.gate_text(decision)] if decision else [])]))
    click.echo(made.run_id)
    sys.exit(report.gate_exit_code(decision))


@main.command()
@CONFIG
@click.option("--run", "run_id", help="The run that ranks. Default: the current one.")
@click.option("--as-of", help="Rank as of this moment (ISO, UTC unless it says otherwise). Default: the midnight after the last event.")
@click.option("--users", type=click.Path(path_type=Path), help="A text file with one user_id a line. Default: everybody with a history.")
@click.option("--k", type=click.IntRange(1, 10000), help="Places of a list. Default: rank.k of the config.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to publish into. Default: nights/ in the project's folder.")
@click.option("--allow-future-model", is_flag=True, help="Let a model rank a past that it has learned from; the manifest says so.")
def rank(
    config_path: Path | None,
    run_id: str | None,
    as_of: str | None,
    users: Path | None,
    k: int | None,
    out: Path | None,
    allow_future_model: bool,
) -> None:
    """Make tonight's list of every user and publish them all, or none.

    The last line of stdout is the published folder alone; it holds recommendations/*.parquet, explanations/*.parquet
    and manifest.json.

    \b
    Example:  recsys rank --k 10 --users vip.txt
    """
    from recsys.pipeline.ranking import rank as run

    with open_job(config_path) as job:
        folder = run(job, run_id, _moment(as_of), users, k, out, allow_future_model)
    click.echo(folder)


@main.command()
@CONFIG
@FORMAT
def nightly(config_path: Path | None, how: str) -> None:
    """The whole nightly job: check, train when it is due, rank, compare with last night, publish; then one summary.

    Exit 0: tonight's lists are served; 1: refused, by a FAIL of the checks or a limit of [monitor]; 2: something failed. Unless they were
    published, last night's lists stay served. The last line of stdout is the published folder alone, or REFUSED or FAILED;
    with --format json it is one object.

    \b
    Example:  recsys nightly --format json | jq .outcome
    """
    from recsys import report
    from recsys.pipeline.nightly import nightly as run

    with open_job(config_path) as job:
        told = run(job)
    said = report.nightly_object(told)
    click.echo(json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) if how == "json" else report.nightly_text(said))
    sys.exit(told.exit_code)


@main.command()
@click.argument("sentence")
@CONFIG
@click.option("--k", type=click.IntRange(1, 10000), help="Places of the list. Default: rank.k of the config.")
@click.option("--run", "run_id", help="The run whose text model reads. Default: the current one.")
@click.option("--as-of", help="Items that may be shown at this moment (ISO, UTC unless it says otherwise). Default: as in rank.")
def suggest(sentence: str, config_path: Path | None, k: int | None, run_id: str | None, as_of: str | None) -> None:
    """List the items that fit a SENTENCE in which somebody without a history says what interests them. An empty one: a newcomer's list.

    The score is the text's interest score; only the order of the items means something.

    \b
    Example:  recsys suggest "wooden toys for a two-year-old" --k 10
    """
    from recsys import report
    from recsys.pipeline.suggesting import suggest as run

    with open_job(config_path) as job:
        found = run(job, sentence, k, run_id, _moment(as_of))
    click.echo(report.suggestions_text(found))


@main.command()
@click.argument("user_id", metavar="USER")
@CONFIG
def forget(user_id: str, config_path: Path | None) -> None:
    """Remove every row of a USER from tables, runs, published nights and sinks, for good, and say what may still remember.

    \b
    Example:  recsys forget u00042
    """
    from recsys import report
    from recsys.pipeline.forgetting import forget as run

    with open_job(config_path) as job:
        done = run(job, user_id)
        click.echo(report.forgotten_text(done.rows, done.runs, (job.config.events.path, job.config.users.path)))


@main.command()
@click.argument("run_id", required=False)
@CONFIG
@FORMAT
def report(run_id: str | None, config_path: Path | None, how: str) -> None:
    """The metrics of a run, with intervals, paired differences and slices. Default: the current run.

    \b
    Example:  recsys report --format json | jq .tasks.all.paired
    """
    from recsys import report as reports

    with open_job(config_path) as job:
        run = job.home.load(run_id)
    click.echo(json.dumps(reports.object_of(run), indent=2, allow_nan=False) if how == "json" else _words(run))


@main.command()
@CONFIG
@click.option("--trials", type=click.IntRange(1, 10_000), help="Trials of each of the two. Default: search.trials of the config.")
@click.option("--minutes", type=click.FloatRange(0), help="Most minutes; 0: no limit. Default: search.minutes of the config.")
def search(config_path: Path | None, trials: int | None, minutes: float | None) -> None:
    """Search settings of the text model and of the ranker by seeded trials, unpromising ones stopped early, the test window unseen.

    The last line of stdout is the file with the best settings alone. A search that was cut short goes on where it was.

    \b
    Example:  recsys search --trials 30 --minutes 120
    """
    from recsys import report
    from recsys.pipeline.search import search as run

    with open_job(config_path) as job:
        asked = {name: value for name, value in (("trials", trials), ("minutes", minutes)) if value is not None}
        job.config = job.config.model_copy(update={"search": job.config.search.model_copy(update=asked)})
        found = run(job)
    click.echo(report.search_text(found))
    click.echo(found.path)


@main.command()
@CONFIG
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port on this machine's loopback address.")
def dashboard(config_path: Path | None, port: int) -> None:
    """Open the Streamlit dashboard over what was published and measured.

    \b
    Example:  recsys dashboard --port 8600
    """
    import subprocess

    from recsys import config_file

    path = config_path or config_file.find(Path.cwd())
    config_file.load(path)
    app = Path(__file__).parents[1] / "dashboards" / "app.py"
    command = [sys.executable, "-m", "streamlit", "run", str(app), "--server.port", str(port), "--server.address", "127.0.0.1"]
    sys.exit(subprocess.call([*command, "--browser.gatherUsageStats", "false", "--", str(path.resolve())]))


def _words(run: Run) -> str:
    from recsys import report

    texts = (report.verdict_text, report.calibration_text, report.off_policy_text, report.rules_text, report.ablation_text)
    return "\n\n".join(filter(None, (text(run) for text in texts)))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--as-of {text!r}: is not a moment. Write it like 2026-11-22 or 2026-11-22T04:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()

"""Does `recsys rank` need more memory for more users? The tables of a project as they are, and with every user replicated.

    python -m benchmarks.rank_memory [--config examples/online_retail.toml] [--times 10]

Ranks from ingested tables (reading raw files holds the raw table, whatever ranks afterwards). Replicated users are copies
under other names, with copies of their events. Each size runs in a process of its own; its peak memory is the system's figure.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from recsys import config_file
from recsys.artefacts import Home, Run, draft
from recsys.pipeline.job import Display, Job, peak_memory_mb, utc_now


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("examples/online_retail.toml"))
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--tables", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tables:
        print(json.dumps(one_night(arguments.config, arguments.tables)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows = [measure(arguments.config, times, Path(scratch)) for times in (1, arguments.times)]
    print(f"{'users':>9} {'rows':>11} {'seconds':>8} {'users/s':>8} {'peak MB':>8}")
    for row in rows:
        speed = row["n_users"] / row["seconds"]
        print(f"{row['n_users']:>9,} {row['n_rows']:>11,} {row['seconds']:>8.1f} {speed:>8.0f} {row['peak_mb']:>8.0f}")
    print(f"peak memory, {arguments.times}x the users / as they are: {rows[1]['peak_mb'] / rows[0]['peak_mb']:.3f}")


def measure(path: Path, times: int, scratch: Path) -> dict[str, float]:
    home = Home((path.resolve().parent / config_file.load(path).project.folder).resolve())
    tables = home.tables(home.load().manifest["tables"])
    folder = replicate(tables, times, scratch / f"x{times}")
    command = [sys.executable, "-m", "benchmarks.rank_memory", "--config", str(path), "--tables", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def replicate(tables: Run, times: int, folder: Path) -> Path:
    events = tables.table("events")
    copies = [events.with_columns(user_id=pl.format("{}-{}", "user_id", pl.lit(copy))) for copy in range(times)]
    with draft(folder, {}) as made:
        made.table("items", tables.table("items"))
        made.table("events", pl.concat(copies).sort("user_id", "event_time", "item_id", "event_type"))
    return folder


def one_night(path: Path, folder: Path) -> dict[str, float]:
    from recsys import timeline
    from recsys.pipeline import ranking

    made = config_file.load(path)
    with Display() as display, tempfile.TemporaryDirectory() as out:
        job = Job(made, path.resolve().parent, utc_now(), display)
        run = job.home.load()
        job.config = ranking.config_of(job, run)
        tables = Run(folder.name, folder, json.loads((folder / "manifest.json").read_text()))
        as_of = timeline.span(tables.scan("events"))[1]
        request = ranking.request_of(job, run, tables, as_of, made.rank.k)
        night = ranking.publish(job, run, tables, request, out=Path(out))
        manifest = json.loads((night / "manifest.json").read_text())
    return {name: manifest[name] for name in ("n_users", "n_rows", "seconds")} | {"peak_mb": peak_memory_mb()}


if __name__ == "__main__":
    main()

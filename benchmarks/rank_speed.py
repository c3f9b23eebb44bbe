"""How many users a second does `recsys rank` list and publish, and does its memory grow with them?

    python -m benchmarks.rank_speed --config demo_shop/recsys.toml [--users 10000 100000] [--items 20000] [--k 50] [--trees 300]
        [--explain 20]

The shop of a finished run, replicated: copies of its users under other names, spread over copies of its items, so that nobody's
history or text is made up. Its own text model; a ranker of exactly `--trees` trees, fitted on the rows of some users as of tonight to
put first what the run's own ranker puts first. Ranking, writing, reading back and switching count; reading raw files, and encoding
texts (which a night finds in the cache), do not. Each size, with so many places explained, runs in a process of its own, whose peak
memory is the system's figure.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from recsys import config_file, features, ranker, timeline
from recsys.artefacts import Home, Run, draft
from recsys.pipeline import ranking
from recsys.pipeline import tables as tables_of
from recsys.pipeline.job import Display, Job, Silent, peak_memory_mb, utc_now
from recsys.pipeline.snapshot import chunks

PER_SOURCE = 30
FITTED_USERS = 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("demo_shop/recsys.toml"))
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--explain", type=int, nargs="+", default=[20])
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tables", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tables:
        print(json.dumps(one_night(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        made = prepared(given, scratch)
        print(f"{made['n_items']:,} items, {made['trees']} trees, {made['candidates']:.0f} candidates a user, lists of {given.k}")
        rows = [measured(given, scratch, n_users, explain) for n_users in given.users for explain in given.explain]
    print(f"{'users':>9} {'explained':>9} {'rows':>11} {'seconds':>8} {'users/s':>8} {'peak MB':>8} {'night MB':>8}")
    for row in rows:
        speed = row["n_users"] / row["seconds"]
        print(
            f"{row['n_users']:>9,} {row['explain']:>9} {row['n_rows']:>11,} {row['seconds']:>8.1f} {speed:>8.0f} {row['peak_mb']:>8.0f} "
            f"{row['night_mb']:>8.1f}"
        )
    print(f"peak memory, last / first: {rows[-1]['peak_mb'] / rows[0]['peak_mb']:.3f}")


def job_of(config: Path, display: Display, folder: Path | None = None, explain: int = 0) -> Job:
    made = config_file.load(config)
    project = made.project.model_copy(update={"folder": str(folder)}) if folder else made.project
    candidates = made.candidates.model_copy(update={"per_source": PER_SOURCE})
    changes = {"project": project, "candidates": candidates, "rank": made.rank.model_copy(update={"explain": explain})}
    return Job(made.model_copy(update=changes), config.resolve().parent, utc_now(), display)


def prepared(given: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """A project of its own: the run with a ranker of so many trees, the vectors of its texts, and the first tables."""
    own = job_of(given.config, Silent()).home
    run = own.load()
    shutil.copytree(own.caches, scratch / "caches")
    job = job_of(given.config, Silent(), scratch)
    tables = replicate(own.tables(run.manifest["tables"]), min(given.users), given.items, Home(scratch))
    items, events = tables_of.read(tables)
    ready = ranking.make_ready(job, run, items, events, timeline.span(events)[1])
    users = tables_of.users_before(events, ready.known.as_of)[:FITTED_USERS]
    parts, n_rows = [], 0
    for number, chunk in enumerate(chunks(ready.known, events, users, job.clock)):
        score = pl.DataFrame({"user": chunk.pool.user, "score": ready.model.score(chunk.frame, chunk.told)})
        label = score.select(pl.col("score").rank("ordinal", descending=True).over("user") <= 10)["score"].cast(pl.Int32).to_numpy()
        query = (number << 20) + chunk.pool.user
        parts.append((ranker.matrix(chunk.frame, features.names()), label, query.astype(np.uint32)))
        n_rows += len(query)
    rows = ranker.Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    fitted = ranker.fit(rows, None, features.names(), job.config.ranker, job.config.gains, 7, job.threads, given.trees)
    with draft(scratch / "runs" / run.run_id, run.manifest) as folder:
        for name in run.manifest["digests"]:
            if name == "ranker.txt":
                folder.file(name).write_text(fitted.text())
            elif name == "ranker.json":
                folder.record("ranker", {"n_base": given.trees // 2})
            else:
                shutil.copy(run.path / name, folder.file(name))
    Home(scratch).point(run.run_id)
    return {"n_items": items.height, "trees": fitted.n_trees, "candidates": n_rows / len(users)}


def replicate(tables: Run, n_users: int, n_items: int, home: Home) -> Run:
    items, events = tables.table("items"), tables.table("events")
    own = events["user_id"].n_unique()
    n_shelves = max(1, n_items // items.height)
    shelves = [items.with_columns(item_id=pl.format("{}-{}", pl.lit(shelf), "item_id")) for shelf in range(n_shelves)]
    copies = []
    for copy in range(-(-n_users // own)):
        kept = events["user_id"].unique().sort()[: n_users - copy * own]
        some = events.join(kept.to_frame(), on="user_id", how="semi") if len(kept) < own else events
        shelf = pl.lit(copy % n_shelves)
        copies.append(some.with_columns(user_id=pl.format("{}-{}", pl.lit(copy), "user_id"), item_id=pl.format("{}-{}", shelf, "item_id")))
    name = f"x{n_users}"
    with draft(home.snapshots / name, {}) as made:
        made.table("items", pl.concat(shelves).sort("item_id"))
        made.table("events", pl.concat(copies).sort("user_id", "event_time", "item_id", "event_type"))
    return home.tables(name)


def measured(given: argparse.Namespace, scratch: Path, n_users: int, explain: int) -> dict[str, float]:
    home = Home(scratch)
    if not (home.snapshots / f"x{n_users}").exists():
        own = job_of(given.config, Silent()).home
        replicate(own.tables(own.load().manifest["tables"]), n_users, given.items, home)
    command = [sys.executable, "-m", "benchmarks.rank_speed", "--config", str(given.config), "--k", str(given.k)]
    command += ["--scratch", str(scratch), "--tables", f"x{n_users}", "--explain", str(explain)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def one_night(given: argparse.Namespace) -> dict[str, float]:
    with Display() as display:
        (explain,) = given.explain
        job = job_of(given.config, display, given.scratch, explain)
        tables = job.home.tables(given.tables)
        as_of = timeline.span(tables.scan("events"))[1]
        run = job.home.load()
        night = ranking.publish(job, run, tables, ranking.request_of(job, run, tables, as_of, given.k))
        manifest = json.loads((night / "manifest.json").read_text())
    print({stage: round(seconds, 1) for stage, seconds in job.clock.seconds.items() if seconds}, file=sys.stderr)
    sizes = {"peak_mb": peak_memory_mb(), "night_mb": sum(manifest["sizes"].values()) / 1e6}
    return {name: manifest[name] for name in ("n_users", "n_rows", "seconds")} | sizes | {"explain": explain}


if __name__ == "__main__":
    main()

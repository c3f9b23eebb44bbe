"""Does the ranker gain by learning from pages, by place? Over demo shops of several seeds, whose truth is known.

    python -m benchmarks.pages [--seeds 5] [--first 7]

Each shop: the ranker without text, fitted on candidates alone and on candidates and pages (`ranker.pages`), its lists of the test window
judged by what users then did, and by the share of the true worth of the oracle's ten items. At the end the differences of all shops
together: users of several shops are different users.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from recsys import config_file, evaluate, timeline
from recsys.demo.oracle import oracle_share
from recsys.demo.shop import write_shop
from recsys.metrics import Floats
from recsys.pipeline import verdict
from recsys.pipeline.job import Job, Silent, utc_now
from recsys.pipeline.snapshot import TextSide, chunks, snapshot
from recsys.pipeline.training import BASE, fit_rankers
from recsys.pipeline.world import World, read_world

SYSTEMS = {"candidates": False, "pages": True}
BOOTSTRAP = 1000
Values = dict[str, dict[str, Floats]]
"""system -> `ndcg@10` or `share` -> (n_users,)."""


def main() -> None:
    """Shop after shop, then all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=7)
    given = parser.parse_args()
    found: dict[str, list[dict[str, Floats]]] = {"ndcg@10": [], "share": []}
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for metric, by_system in one_shop(Path(folder), seed).items():
                found[metric].append(by_system)
                told(f"seed {seed}", metric, by_system)
    for metric, shops in found.items():
        told("all", metric, {system: np.concatenate([shop[system] for shop in shops]) for system in SYSTEMS})


def told(where: str, metric: str, by_system: dict[str, Floats]) -> None:
    """One line: both means, and the paired difference."""
    figures, (paired,) = evaluate.compare({name: {metric: values} for name, values in by_system.items()}, "pages", (metric,), BOOTSTRAP, 0)
    means = ", ".join(f"{name} {figures[name][metric].value:.4f}" for name in SYSTEMS)
    difference = f"{paired.difference:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"
    print(f"{where:<8} {metric:<8} {means}, difference {difference}, n {len(by_system['pages']):,}", flush=True)


def one_shop(folder: Path, seed: int) -> dict[str, dict[str, Floats]]:
    """By metric and system the values of the users of the test window: ndcg@10 of those with something to find, share of all."""
    write_shop(folder, seed)
    made = config_file.load(folder / config_file.FILE_NAME)
    job = Job(made, folder, utc_now(), Silent())
    world = read_world(job)
    ledger = timeline.evaluation_ledger(world.start, world.end, made)
    assert ledger.test is not None
    lists = {name: ranked(job, world, ledger, is_given) for name, is_given in SYSTEMS.items()}
    side = TextSide.silent(len(world.catalogue))
    moments = (ledger.test.start, ledger.test.end)
    known = snapshot(world.events, world.catalogue, *moments, side, made, world.catalogue.categories, job.threads, job.clock)
    asked = verdict.questions(known, world.events, None, ledger.test)["all"]
    per_user = evaluate.judge(lists, asked, "pages", 10, 0).per_user
    users = asked.users.sort().to_frame("user_id")
    shares = {name: oracle_share(folder, one.with_columns(as_of=pl.lit(ledger.test.start))) for name, one in lists.items()}
    of_all = {name: users.join(one, on="user_id", how="left", maintain_order="left")["share"] for name, one in shares.items()}
    return {
        "ndcg@10": {name: per_user.filter(pl.col("system") == name)["ndcg@10"].to_numpy() for name in SYSTEMS},
        "share": {name: share.fill_null(0).to_numpy() for name, share in of_all.items()},
    }


def ranked(job: Job, world: World, ledger: timeline.Ledger, with_pages: bool) -> pl.DataFrame:
    """The lists (task all) of the test window's users by the ranker without text."""
    assert ledger.test is not None
    settings = job.config.ranker.model_copy(update={"pages": with_pages})
    job = Job(job.config.model_copy(update={"ranker": settings}), job.base, job.now, job.display)
    sides = tuple(TextSide.silent(len(world.catalogue)) for _ in ledger.moments)
    model = fit_rankers(job, world, sides, ledger)[0].whole[BASE]
    window = (ledger.test.start, ledger.test.end, sides[-1], job.config, world.catalogue.categories)
    known = snapshot(world.events, world.catalogue, *window, job.threads, job.clock)
    users = timeline.active_users(ledger.test.of(world.events).collect(), ledger.test)
    parts = []
    for chunk in chunks(known, world.events, users, job.clock):
        made = verdict.row_lists(known, chunk, "ranker", model.score(chunk.frame), chunk.pool.by_behaviour)
        parts.append(next(one for one in made if one["task"][0] == "all").drop("task", "system"))
    return pl.concat(parts)


if __name__ == "__main__":
    main()

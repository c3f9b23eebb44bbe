"""Do off-policy estimates hold the truth? Over demo shops of several seeds, whose truth is known.

    python -m benchmarks.off_policy [--seeds 10] [--first 7] [--trees 100]

Each shop: the ranker without text on its folds, then what its lists, and simpler ones, would have brought on the pages of the test
window, beside the truth. At the end, how many of the 95 % intervals hold it, and the mean error against the truth. The systems of one shop
share their pages, so they miss together: n counts shops.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from recsys import config_file, timeline
from recsys.demo.oracle import Truth
from recsys.demo.pages import LOGGED, true_values
from recsys.demo.shop import write_shop
from recsys.pipeline.job import Job, Silent, utc_now
from recsys.pipeline.offpolicy import off_policy, page_log
from recsys.pipeline.snapshot import TextSide, snapshot
from recsys.pipeline.training import fit_rankers
from recsys.pipeline.world import read_world
from recsys.report.offpolicy import QUESTIONS, per_thousand

Key = tuple[str, str]


def main() -> None:
    """Shop after shop, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=7)
    parser.add_argument("--trees", type=int, default=100)
    given = parser.parse_args()
    held: dict[Key, list[bool]] = {}
    errors: dict[Key, list[float]] = {}
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for key, (said, truth) in compared(Path(folder), seed, given.trees).items():
                held.setdefault(key, []).append(said["low"] <= truth <= said["high"])
                errors.setdefault(key, []).append(said["value"] / truth - 1)
                missed = "" if held[key][-1] else "  missed"
                print(f"seed {seed:<3} {key[0]:<7} {key[1]:<15} {per_thousand(said):<24} truth {1000 * truth:>6.1f}{missed}", flush=True)
    for key, found in held.items():
        error = np.array(errors[key])
        print(f"{key[0]:<7} {key[1]:<15} {sum(found):>3} of {len(found)} hold the truth; error {error.mean():+.1%} (sd {error.std():.1%})")


def compared(folder: Path, seed: int, trees: int) -> dict[Key, tuple[dict[str, float], float]]:
    """Question and system -> the doubly robust estimate and the truth; those refused are left out, and said."""
    write_shop(folder, seed)
    made = config_file.load(folder / config_file.FILE_NAME)
    settings = made.model_copy(update={"ranker": made.ranker.model_copy(update={"trees": trees})})
    job = Job(settings, folder, utc_now(), Silent())
    world = read_world(job)
    ledger = timeline.evaluation_ledger(world.start, world.end, settings)
    assert ledger.test is not None
    sides = tuple(TextSide.silent(len(world.catalogue)) for _ in ledger.moments)
    rankers, _ = fit_rankers(job, world, sides, ledger)
    given = (world.catalogue, ledger.test.start, ledger.test.end, sides[-1], settings, world.catalogue.categories)
    known = snapshot(world.events, *given, job.threads, job.clock)
    log = page_log(job, world, known, ledger, rankers.whole)
    assert not isinstance(log, str), log
    found, truth = off_policy(job, log), true_values(Truth.read(folder), log, world.catalogue.items["item_id"], ledger.test.end)
    pairs: dict[Key, tuple[dict[str, float], float]] = {}
    for question in QUESTIONS:
        entry = found[question]
        pairs[question, LOGGED] = entry["logged"], truth[question][LOGGED]
        for name, one in entry["systems"].items():
            if one["refused"]:
                print(f"seed {seed} {question} {name}: {one['refused']}")
            elif name != "ranker":  # without text it is the other one
                pairs[question, name] = one["dr"], truth[question][name]
    return pairs


if __name__ == "__main__":
    main()

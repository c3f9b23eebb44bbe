"""Text alone in the test window of a config: what the tower brings over the frozen encoder, and what fine-tuning the encoder adds.

    python -m benchmarks.text_alone examples/online_retail.toml [--text '{"tune": "full"}'] [--end 2011-11-12]

Four systems rank the whole eligible catalogue for everybody who acted in the test window: the mean of the recent history by TF-IDF
(`tfidf`) and by the untrained encoder (`text_frozen`); the history tower over the frozen encoder (`text_frozen_tower`), with as many
user-side steps as the tuned model has in both its phases; and the tuned model (`text_tuned`). Towers are refreshed to the start of
the test window, as `recsys train` does. ndcg@10 of the tasks `all` and `new`, bootstrap over users. --end cuts the data there: the
choice of settings belongs to earlier test windows.
"""

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys import candidates, config_file, evaluate, text, timeline
from recsys.blocks import Floats, History
from recsys.config import TASKS
from recsys.pipeline import verdict
from recsys.pipeline.job import Display, Job, utc_now
from recsys.pipeline.sides import fit_sides
from recsys.pipeline.snapshot import TextSide, as_lists, chunks, snapshot
from recsys.pipeline.texts import read_texts
from recsys.pipeline.world import World, read_world
from recsys.schema import TIME

BOOTSTRAP = 1000
PAIRS = (("text_tuned", "text_frozen_tower"), ("text_tuned", "text_frozen"), ("text_tuned", "tfidf"), ("text_frozen_tower", "text_frozen"))


def main() -> None:
    """Fit both towers, rank, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--text", default="{}", help="other settings of [text], as JSON")
    parser.add_argument("--end", type=datetime.fromisoformat, help="leave out what happened from this day on")
    given = parser.parse_args()
    with Display() as display:
        path = given.config.resolve()
        settings = config_file.load(path)
        tuned = settings.text.model_copy(update={"blend_steps": 0} | json.loads(given.text))
        job = Job(settings.model_copy(update={"text": tuned}), path.parent, utc_now(), display)
        lists, asked = ranked(job, cut(read_world(job), given.end))
    for task, question in asked.items():
        by_system = {name: part.filter(pl.col("task") == task).drop("task") for name, part in lists.items()}
        found = evaluate.judge_pairs(by_system, question, PAIRS, BOOTSTRAP, settings.project.seed)
        print(f"\n{task}: ndcg@10 of {len(question.judged):,} users")
        for name, f in found.systems.items():
            print(f"  {name:<18} {f.value:.4f} [{f.low:.4f}, {f.high:.4f}]")
        for p in found.paired:
            ratio = found.systems[p.a].value / found.systems[p.b].value
            print(f"  {p.a} - {p.b}: {p.difference:+.4f} [{p.low:+.4f}, {p.high:+.4f}], ratio {ratio:.2f}")


def cut(world: World, end: datetime | None) -> World:
    """The world as if its data ended at a day, UTC."""
    if end is None:
        return world
    end = end.replace(tzinfo=UTC)
    return replace(world, events=world.events.filter(pl.col("event_time") < pl.lit(end, TIME)), end=end)


def ranked(job: Job, world: World) -> tuple[dict[str, pl.DataFrame], dict[str, evaluate.Question]]:
    """Each system's lists (task, user_id, item_id, rank) of the test window, and what is asked there."""
    config, texts = job.config, read_texts(job, world.catalogue)
    ledger = timeline.evaluation_ledger(world.start, world.end, config)
    steps = {"warm_steps": config.text.warm_steps + config.text.steps * config.text.push_steps, "steps": 0, "tune": "none"}
    frozen = replace(job, config=config.model_copy(update={"text": config.text.model_copy(update=steps)}))
    sides = {}
    for name, at_work in (("text_tuned", job), ("text_frozen_tower", frozen)):
        made, fitted = fit_sides(at_work, texts, world.catalogue, world.events, ledger, None)
        sides[name] = made[-1]
        print(name + ": " + ", ".join(f"{row['phase']} {row['step']} {row['ndcg']:.4f}" for row in fitted.curve), flush=True)
    values = text.item_texts(world.catalogue.items, config.text.template)
    words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(values).toarray()
    window = ledger.test
    assert window
    tuned = sides["text_tuned"]
    given = (config, world.catalogue.categories, job.threads, job.clock)
    known = snapshot(world.events, world.catalogue, window.start, window.end, tuned, *given)
    asked, parts = verdict.questions(known, world.events, None, window), []
    for chunk in chunks(known, world.events, asked["all"].users, job.clock):
        history = chunk.block.history
        shown = {"all": known.eligible[None, :], "new": known.eligible & ~history.seen(len(world.catalogue))}
        scores = {name: interest(side, history) for name, side in sides.items()}
        scores |= {
            "text_frozen": by_mean(history, tuned.frozen, config.text.history),
            "tfidf": by_mean(history, words, config.text.history),
        }
        for name, score in scores.items():
            for task in TASKS:
                listed = candidates.list_top(score, np.broadcast_to(shown[task], score.shape), verdict.K)
                lists = as_lists(history.user_ids, world.catalogue, *listed)
                parts.append(lists.with_columns(task=pl.lit(task), system=pl.lit(name)))
    together = pl.concat(parts)
    return {str(name): part.drop("system") for (name,), part in together.group_by("system", maintain_order=True)}, asked


def interest(side: TextSide, history: History) -> Floats:
    """Scores (n_users, n_items) of an interest model."""
    vectors = side.vectors[candidates.TEXT]
    match = candidates.TextMatch(candidates.TEXT, vectors, side.model.scale())
    return match.score(candidates.Block(history, side.users(history)))


def by_mean(history: History, vectors: Floats, n: int) -> Floats:
    """Scores (n_users, n_items) by the mean of the latest `n` liked items' vectors; -inf for users without."""
    users = text.mean_of_history(history, vectors, n)
    return np.where(np.any(users != 0, axis=1)[:, None], users @ vectors.T, -np.inf).astype(np.float32)


if __name__ == "__main__":
    main()

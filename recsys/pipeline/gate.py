"""The promotion gate, read aloud: is a run fit to rank in the place of the one that does. It decides; it moves nothing.

| basis | when | how |
| --- | --- | --- |
| first | no run ranks, or it cannot be used | nothing to compare with |
| same recipe | one recipe, other tables | nothing to test: guards alone, each run on its own window |
| same window | same tables, same test window | the lists that both trainings judged, compared user by user |
| rematch | anything else | the champion's recipe, fitted on the challenger's tables (`rematch`), its lists compared user by user |

What is compared are always the evaluation fits, which saw nothing of the test window; never the models that rank, which were fitted on it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from recsys import evaluate
from recsys.artefacts import Run
from recsys.errors import ConfigError, DataError, ModelError
from recsys.metrics import Floats
from recsys.pipeline import recipe
from recsys.pipeline.guards import (
    METRIC,
    Check,
    Shown,
    baselines,
    costs,
    fresh_items,
    lists_of,
    minutes_of,
    primary,
    question_of,
    short_share,
    shown_by,
)
from recsys.pipeline.job import Job, utc_now
from recsys.pipeline.rematch import judged_on, rematch

CHALLENGER, CHAMPION = "challenger", "champion"

PERMUTATIONS = 2000
"""Random choices of signs for a p-value: it is exact to .005 about LEVEL."""

FITS = {
    "first": "none: no run ranks",
    "same recipe": "its own evaluation run, on its own window",
    "same window": "its own evaluation run",
    "rematch": "its recipe, fitted on the challenger's tables up to the test window",
    "not comparable": "none",
}


@dataclass(frozen=True)
class Weighed:
    """What speaks for and against a run: how it was compared, the checks, and the paired figure where there is one."""

    basis: str
    checks: list[Check]
    paired: dict[str, Any] | None = None


def decide(job: Job, run: Run, champion: Run | None, forced: str | None) -> dict[str, Any]:
    """The decision on a run with all its evidence, ready for JSON; it names no user. forced: why it ranks whatever is found.

    Raises ArtefactError where tables or files that it needs are damaged or the disk is full: that says nothing of the run.
    """
    weighed = _weighed(job, run, champion)
    failed = [check.name for check in weighed.checks if check.status == "FAIL"]
    decision: dict[str, Any] = {
        "made": utc_now().isoformat(timespec="seconds"),
        "challenger": run.run_id,
        "champion": champion.run_id if champion else None,
        "decision": "refused" if failed else "passed",
        "forced": forced,
        "sentence": _sentence(run, champion, weighed.basis, failed, forced),
        "basis": weighed.basis,
        "champion_fit": FITS[weighed.basis],
        "task": job.config.project.task,
        "metric": METRIC,
        "window": _window(run),
        "paired": weighed.paired,
        "checks": [asdict(check) for check in weighed.checks],
        "limits": job.config.promote.model_dump(mode="json"),
        "versions": {"recsys": recipe.recsys_version(), **_made_of(CHALLENGER, run), **_made_of(CHAMPION, champion)},
    }
    plain: dict[str, Any] = evaluate.without_nan(decision)
    return plain


def _weighed(job: Job, run: Run, champion: Run | None) -> Weighed:
    task = job.config.project.task
    if champion is None:
        return Weighed("first", [])
    if lacking := _lacks(run, champion):
        return Weighed("not comparable", [Check("comparable", "FAIL", None, None, lacking)])
    try:
        differing = recipe.differing(champion, run)
        if not differing:
            return Weighed("same recipe", [_recipes(champion, run, differing), *baselines(run, task), *_own_costs(job, champion, run)])
        is_one_window = _ground(champion) == _ground(run) and "lists.parquet" in champion.manifest["digests"]
        rival = champion if is_one_window else rematch(job, champion, run)
    except (ConfigError, DataError, ModelError) as error:
        return Weighed("not comparable", [Check("comparable", "FAIL", None, None, str(error))])
    checks, paired = _compared(job, run, champion, rival)
    return Weighed("same window" if is_one_window else "rematch", [_recipes(champion, run, differing), *checks], paired)


def _lacks(run: Run, champion: Run) -> str:
    """What one of them does not keep that the gate needs: it was made by an earlier recsys. Empty where nothing lacks."""
    kept = [f"{name}.parquet" for name in (*evaluate.KEPT_TABLES, "lists", "windows")] + [f"{evaluate.KEPT_SCALES}.json"]
    for one, needed in ((run, [*kept, "config.json"]), (champion, ["config.json", "windows.parquet"])):
        absent = [name for name in needed if name not in one.manifest["digests"]]
        if absent or "dataset_digests" not in one.manifest:
            what = ", ".join(absent) or "the digests of its tables"
            return f"run {one.run_id} was made by an earlier recsys and lacks {what}. Train again with `recsys train`, or use --force."
    return ""


def _ground(run: Run) -> tuple[object, ...]:
    """What a run was judged on: the tables, and the test window."""
    return run.manifest["dataset_digests"], judged_on(run)


def _recipes(champion: Run, run: Run, differing: list[str]) -> Check:
    """What is new. Nothing speaks for the same recipe on older data; another one may be better, and its next run will know more."""
    what = f"another recipe than run {champion.run_id}: {', '.join(differing)}" if differing else f"the recipe of run {champion.run_id}"
    until, before = run.manifest["as_of"], champion.manifest["as_of"]
    known = f"up to {until[:10]}, where that one knows them up to {before[:10]}"
    words = f"{what}; on events {known}" if until != before else f"{what}; on events up to the same day"
    return Check("recipe", "PASS" if until >= before else "WARN" if differing else "FAIL", None, None, words)


def _own_costs(job: Job, champion: Run, run: Run) -> list[Check]:
    task = job.config.project.task
    return list(costs(shown_by(champion, task), shown_by(run, task), job.config.promote))


def _compared(job: Job, run: Run, champion: Run, rival: Run) -> tuple[list[Check], dict[str, Any] | None]:
    """The checks and the paired figure of the challenger's lists and the rival's, judged by the question that the challenger was asked."""
    task, config = job.config.project.task, job.config
    question, lists = question_of(run, task), {CHALLENGER: lists_of(run, task), CHAMPION: lists_of(rival, task)}
    if not len(question.judged):
        return [Check(METRIC, "FAIL", None, None, f"task {task}: nobody had anything to find in the test window")], None
    found = evaluate.judge(lists, question, CHALLENGER, config.evaluate.bootstrap, config.project.seed)
    pair = next(pair for pair in found.paired if pair.metric == METRIC)
    differences = _differences(found.per_user)
    p, effect = evaluate.permutation_p(differences, PERMUTATIONS, config.project.seed), evaluate.effect_seen(differences)
    # A fit of the gate shares its process with what went before, so its peak would say little: memory is that of each run's own training.
    sides = {CHALLENGER: (run, run), CHAMPION: (rival, champion)}
    shown = {name: _shown(found.systems[name], lists[name], question, *side) for name, side in sides.items()}
    fresh, cost = fresh_items(found.slices, config.promote), costs(shown[CHAMPION], shown[CHALLENGER], config.promote)
    paired = asdict(pair) | {"n": len(differences), "p": p, "effect_seen": effect}
    return [primary(pair, p, effect, config.promote), *fresh, *baselines(run, task), *cost], paired


def _differences(per_user: pl.DataFrame) -> Floats:
    """(n_users,) challenger minus champion; both in the order of the users' ids."""
    one, other = (per_user.filter(pl.col("system") == name)[METRIC].to_numpy() for name in (CHALLENGER, CHAMPION))
    differences: Floats = one - other
    return differences


def _shown(figures: Mapping[str, evaluate.Figure], lists: pl.DataFrame, question: evaluate.Question, judged: Run, own: Run) -> Shown:
    short = short_share(lists, question.users)
    minutes, memory_mb = minutes_of(judged.record("report")), own.record("report").get("peak_memory_mb")
    return Shown(figures["coverage@10"].value, figures["novelty@10"].value, short, minutes, memory_mb)


def _window(run: Run) -> dict[str, str] | None:
    """What the run was judged on, as days; None where an old run does not say."""
    if "windows.parquet" not in run.manifest["digests"]:
        return None
    start, end = judged_on(run)
    return {"start": start.date().isoformat(), "end": end.date().isoformat()}


def _made_of(role: str, run: Run | None) -> dict[str, Any]:
    """Of what a run was made."""
    names = ("recsys_version", "config_hash", "tables", "knows_until")
    return {role: {name: run.manifest.get(name) for name in names} if run else None}


def _sentence(run: Run, champion: Run | None, basis: str, failed: list[str], forced: str | None) -> str:
    if champion is None:
        return f"Run {run.run_id} ranks: there is no other that could, so it was compared with nothing."
    if failed and forced is None:
        return f"Run {run.run_id} is refused ({', '.join(failed)}); run {champion.run_id} ranks on."
    if failed:
        return f"Run {run.run_id} ranks by force, though the gate refused it ({', '.join(failed)}): {forced}"
    how = "it is the same recipe on newer data, and its guards hold" if basis == "same recipe" else "it is not worse, and its guards hold"
    return f"Run {run.run_id} ranks in the place of run {champion.run_id}: {how}."

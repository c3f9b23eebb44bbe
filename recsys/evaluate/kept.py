"""The questions of a verdict as a run keeps them: tables, out of which other lists can be judged by what was asked then."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from recsys.evaluate.question import Question

KEPT_TABLES = TRUTH, USERS, ITEMS = ("question/truth", "question/users", "question/items")
KEPT_SCALES = "question/scales"
"""The names of the tables and of the record in the folder of a run."""


def question_tables(asked: Mapping[str, Question]) -> dict[str, pl.DataFrame]:
    """By name: TRUTH (task, user_id, item_id, label), USERS (user_id and its slices), ITEMS (item_id, n_users and its slices).

    asked: by task; all of them ask the same users about the same catalogue.
    """
    whole = next(iter(asked.values()))
    truth = [question.truth.select(pl.lit(task).alias("task"), "user_id", "item_id", "label") for task, question in asked.items()]
    return {TRUTH: pl.concat(truth), USERS: whole.user_slices, ITEMS: whole.catalogue}


def question_scales(asked: Mapping[str, Question]) -> dict[str, Any]:
    """relevant_from, gains, n_all_users, made_by: what of the questions is no table."""
    whole = next(iter(asked.values()))
    return {
        "relevant_from": whole.relevant_from,
        "gains": list(whole.gains),
        "n_all_users": whole.n_all_users,
        "made_by": list(whole.made_by),
    }


def question_of(task: str, tables: Mapping[str, pl.DataFrame], scales: Mapping[str, Any]) -> Question:
    """The question of a task, out of what `question_tables` and `question_scales` gave."""
    users = tables[USERS]
    return Question(
        truth=tables[TRUTH].filter(pl.col("task") == task).drop("task"),
        users=users["user_id"],
        relevant_from=scales["relevant_from"],
        gains=tuple(scales["gains"]),
        catalogue=tables[ITEMS],
        user_slices=users,
        n_all_users=scales["n_all_users"],
        made_by=tuple(scales["made_by"]),
    )

"""The recipe of a run: all that decides what a training learns from given tables, and how it can be followed again on others."""

from importlib import metadata
from typing import Any

from recsys import config_file
from recsys.artefacts import Run
from recsys.config import Config
from recsys.config_rules import Rules

LEARNED_FROM = ("time", "text", "candidates", "ranker")
"""Sections of the config that a run keeps as it was made: a change of them takes effect with the next run."""


def recsys_version() -> str:
    """The version of recsys that is here."""
    return metadata.version("recsys")


def changed(made: Config, asked: Config) -> list[str]:
    """What of the config a run would have to be trained again for."""
    sections = [f"[{name}]" for name in LEARNED_FROM if getattr(made, name) != getattr(asked, name)]
    return sections + ["[events.types]"] * (_worth(made) != _worth(asked))


def differing(one: Run, other: Run) -> list[str]:
    """In what the recipes of two runs differ, in words; none: they are the same. Raises ConfigError where a config is of another recsys.

    `time.test_days` is no part of it: it says what is judged, not what is learned.
    """
    recipes = [_recipe(run) for run in (one, other)]
    return [name for name, value in recipes[0].items() if value != recipes[1][name]]


def made_by(run: Run) -> Config:
    """The config of a run. Raises ConfigError where this recsys cannot read it."""
    return config_file.parse(run.record("config"), f"config of run {run.run_id}")


def followed(recipe_of: Run, judged: Run, now: Config) -> Config:
    """The config that follows the recipe of one run on the tables and the test window of the other.

    now: of this command; where the project lies, and its threads. Raises ConfigError where the two do not go together.
    """
    made, other = made_by(recipe_of), made_by(judged)
    parts = {name: getattr(made, name) for name in (*LEARNED_FROM, "evaluate")}
    parts["time"] = made.time.model_copy(update={"test_days": other.time.test_days})
    parts["events"] = other.events.model_copy(update={"types": made.events.types})
    parts["project"] = now.project.model_copy(update={"seed": made.project.seed})
    both = other.model_copy(update=parts | {"rules": Rules()})
    return config_file.parse(both.model_dump(), f"the recipe of run {recipe_of.run_id} on the tables of run {judged.run_id}")


def _recipe(run: Run) -> dict[str, Any]:
    made = made_by(run)
    sections: dict[str, Any] = {f"[{name}]": getattr(made, name).model_dump() for name in LEARNED_FROM}
    del sections["[time]"]["test_days"]
    return sections | {
        "[events.types]": _worth(made),
        "project.seed": made.project.seed,
        "the weights of text.encoder": run.manifest.get("untrained_digest"),
        "the version of recsys": run.manifest.get("recsys_version"),
    }


def _worth(made: Config) -> dict[str, Any]:
    """What each event type is worth, whatever the shop calls it."""
    return {name: kind.model_dump(exclude={"names"}) for name, kind in made.events.types.items()}

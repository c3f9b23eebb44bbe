"""Trials of settings: the same search gives the same ones, hopeless ones are stopped, and a search cut short goes on as it would have."""

import math
import sys
from dataclasses import replace

import pytest

from recsys import study
from recsys.errors import ConfigError, ModelError
from recsys.space import Space
from recsys.study import COMPLETE, FAILED, PRUNED, Report, Settings, Study, Trial

SPACE: Space = {"rate": (1e-5, 1e-1), "leaves": (7, 63), "pooling": ("mean", "cls"), "share": (0.4, 0.6), "steps": (10, 20, 50)}
OWN: Settings = {"rate": 1e-3, "leaves": 31, "pooling": "mean", "share": 0.5, "steps": 20}


def hill(number: int, settings: Settings, report: Report) -> float:
    """Best at a rate of 1e-2 and many leaves; reached in five equal steps."""
    at = OWN | settings
    figure = 1 - abs(math.log10(float(at["rate"])) + 2) / 4 + float(at["leaves"]) / 1000
    for step in range(5):
        report(step, figure * (step + 1) / 5)
    return figure


def trials_of(n: int, seed: int = 7, own: Settings = OWN, kept: list[Trial] | None = None) -> list[Trial]:
    one = Study(SPACE, own, seed, 0, kept or [])
    while len(one.trials) < n:
        one.run(hill)
    return [replace(trial, seconds=0.0) for trial in one.trials]


def test_the_same_seed_gives_the_same_trials_and_another_gives_others() -> None:
    assert trials_of(15) == trials_of(15)
    assert trials_of(4)[1:] != trials_of(4, seed=8)[1:]


@pytest.mark.parametrize("cut", [1, 4, 13])
def test_a_search_cut_short_goes_on_as_if_it_had_not_been(cut: int) -> None:
    whole = trials_of(18)
    assert {trial.state for trial in whole} == {COMPLETE, PRUNED}
    assert trials_of(18, kept=trials_of(cut)) == whole


def test_the_first_trial_is_the_config_as_it_is_and_the_others_lie_in_the_space() -> None:
    first, *others = trials_of(15)
    assert first.settings == {}
    for trial in others:
        assert trial.settings.keys() == SPACE.keys()
        assert 1e-5 <= float(trial.settings["rate"]) <= 1e-1
        assert isinstance(trial.settings["leaves"], int)
        assert trial.settings["pooling"] in ("mean", "cls")
        assert 0.4 <= float(trial.settings["share"]) <= 0.6
        assert trial.settings["steps"] in (10, 20, 50)


def test_a_range_of_many_magnitudes_is_drawn_on_a_log_scale() -> None:
    low = [trial for seed in range(8) for trial in trials_of(10, seed)[1:] if float(trial.settings["rate"]) < 1e-3]
    assert 0.3 * 72 < len(low) < 0.7 * 72  # half of the magnitudes; one part in a hundred of the length


def test_later_trials_are_better_than_the_first_random_ones() -> None:
    trials = trials_of(40)
    assert max(t.figure for t in trials[11:]) > max(t.figure for t in trials[:11])


def test_a_config_outside_the_space_is_tried_all_the_same() -> None:
    trials = trials_of(12, own=OWN | {"rate": 0.5, "pooling": "max"})
    assert (trials[0].settings, trials[0].state, trials[11].number) == ({}, COMPLETE, 11)


def flat(levels: list[float]):
    """An objective whose trial `number` stands at a level of its own at each of four steps."""

    def objective(number: int, settings: Settings, report: Report) -> float:
        for step in range(4):
            report(step, levels[number])
        return levels[number]

    return objective


def test_a_trial_below_the_median_is_stopped_once_enough_are_complete() -> None:
    one = Study(SPACE, OWN, 7, 2, [])
    trials = [one.run(flat([0.5, 0.1, 0.5, 0.5, 0.5, 0.2, 0.9])) for _ in range(7)]
    assert [trial.state for trial in trials] == [COMPLETE] * 5 + [PRUNED, COMPLETE]
    assert (trials[5].figure, trials[5].checks) == (0.2, [(0, 0.2), (1, 0.2), (2, 0.2)])  # not before the warm-up


def test_the_config_as_it_is_is_never_stopped() -> None:
    def stopped(number: int, settings: Settings, report: Report) -> float:
        report(0, -1.0)
        return -1.0

    assert Study(SPACE, OWN, 7, 0, []).run(stopped).state == COMPLETE


def test_a_model_that_goes_bad_is_a_failed_trial_and_any_other_error_passes() -> None:
    def bad(number: int, settings: Settings, report: Report) -> float:
        report(0, 0.1)
        raise ModelError("the loss is not a number") if number < 2 else ZeroDivisionError

    one = Study(SPACE, OWN, 7, 0, [])
    for _ in range(2):
        trial = one.run(bad)
        assert (trial.state, trial.figure) == (FAILED, None)
    with pytest.raises(ZeroDivisionError):
        one.run(bad)
    again = Study(SPACE, OWN, 7, 0, one.trials)
    assert again.run(hill).settings == Study(SPACE, OWN, 7, 0, one.trials).run(hill).settings


def test_without_optuna_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[search\]'"):
        study.check_installed()

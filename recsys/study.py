"""A study: trials of settings, drawn by a seeded sampler and stopped early by a pruner. The only place that names optuna.

Each trial's draw depends on the seed, its number and the finished trials alone; so the same search gives the same trials, also
when it was cut short and taken up again from the trials that were kept.

- Sampler: tree-structured Parzen estimators (Bergstra et al. 2011), of all settings jointly; the first ten trials are random.
- Pruner: a trial is stopped at a check where its best figure so far is below the median of the completed trials there, once
  five are complete (the median stopping rule of Golovin et al. 2017).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recsys.errors import ConfigError, ModelError
from recsys.space import Space, Value, holds, is_log, is_range

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"

RANDOM_TRIALS = 10
COMPLETE_BEFORE_PRUNING = 5

Settings = dict[str, Value]
Report = Callable[[int, float], None]
Objective = Callable[[int, Settings, Report], float]
"""Of a trial's number and settings: the figure, higher is better; it reports (step, figure) at each check, which may raise PrunedError."""


class PrunedError(Exception):
    """The trial is not worth going on with."""


@dataclass(frozen=True)
class Trial:
    """A finished trial. Number 0 has no settings: it is the config as it stands, never pruned.

    figure: what the objective gave, or the best it had reported when it was pruned; None for a trial that failed.
    checks: the (step, figure) it reported.
    """

    number: int
    settings: Settings
    state: str
    figure: float | None
    checks: list[tuple[int, float]]
    seconds: float


@dataclass
class Study:
    """Trials over a space. `own`: the settings of the config, by which trial 0 is known to the sampler where they lie in the space.

    No trial is pruned at a step before `warm_up`. `kept`: the trials of the same study that were finished before.
    """

    space: Space
    own: Settings
    seed: int
    warm_up: int
    kept: list[Trial]
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        optuna = _optuna()
        pruner = optuna.pruners.MedianPruner(COMPLETE_BEFORE_PRUNING, self.warm_up)
        self._study = optuna.create_study(direction="maximize", pruner=pruner)
        self._distributions = {name: _distribution(values) for name, values in self.space.items()}
        for trial in self.kept:
            self._finished(trial)

    def run(self, objective: Objective) -> Trial:
        """Run the next trial. A ModelError makes it a failed one; every other error passes."""
        number, begun, checks = len(self.trials), time.perf_counter(), list[tuple[int, float]]()
        live = self._ask(number) if number else None

        def report(step: int, figure: float) -> None:
            checks.append((step, figure))
            if live is not None:
                live.report(figure, step)
                if live.should_prune():
                    raise PrunedError

        settings = dict(live.params) if live is not None else {}
        state, figure = _outcome(lambda: objective(number, settings, report), checks)
        trial = Trial(number, settings, state, figure, checks, round(time.perf_counter() - begun, 1))
        self._finished(trial, live)
        return trial

    def _ask(self, number: int) -> Any:
        seed = int(np.random.default_rng([self.seed, number]).integers(2**31))
        self._study.sampler = _optuna().samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
        return self._study.ask(self._distributions)

    def _finished(self, trial: Trial, live: Any = None) -> None:
        self.trials.append(trial)
        states = _optuna().trial.TrialState
        state = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}[trial.state]
        if live is not None:
            self._study.tell(live, trial.figure if state == states.COMPLETE else None, state)
        elif trial.number or all(holds(values, self.own[name]) for name, values in self.space.items()):
            self._study.add_trial(self._frozen(trial, state))

    def _frozen(self, trial: Trial, state: Any) -> Any:
        settings = trial.settings if trial.number else {name: self.own[name] for name in self.space}
        figure = trial.checks[-1][1] if trial.state == PRUNED else trial.figure  # as `tell` keeps a pruned one
        return _optuna().trial.create_trial(
            state=state, value=figure, params=settings, distributions=self._distributions, intermediate_values=dict(trial.checks)
        )


def check_installed() -> None:
    """Raises ConfigError where optuna is not installed."""
    _optuna()


def _outcome(work: Callable[[], float], checks: list[tuple[int, float]]) -> tuple[str, float | None]:
    try:
        return COMPLETE, work()
    except PrunedError:
        return PRUNED, max(figure for _, figure in checks)
    except ModelError:
        return FAILED, None


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("recsys search: optuna is not installed. Install it: python -m pip install 'recsys[search]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(values: tuple[Value, ...]) -> Any:
    distributions = _optuna().distributions
    if not is_range(values):
        return distributions.CategoricalDistribution(values)
    low, high = values
    kind = distributions.IntDistribution if isinstance(low, int) else distributions.FloatDistribution
    return kind(low, high, log=is_log(float(low), float(high)))

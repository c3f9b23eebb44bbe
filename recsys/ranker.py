"""LightGBM LambdaMART over ranker rows (Burges 2010; Ke et al. 2017): groups checked, deterministic, saved as LightGBM text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import config
from recsys.blocks import Bools
from recsys.errors import ArtefactError, ConfigError, TableError, nearest

CATEGORICAL = ("item_category",)
"""Features that are codes, not amounts: LightGBM splits them natively by sets of codes."""

QUERY_SHARE = 0.5
"""Queries that a tree is fitted on, drawn anew for each."""

MAX_ROWS_A_QUERY = 10_000
"""LightGBM refuses longer queries."""


@dataclass(frozen=True)
class Rows:
    """Ranker rows: features (r, f) float32 with NaN where missing, label (r,) int32, query_id (r,), rows of a query contiguous."""

    features: NDArray[np.float32]
    label: NDArray[np.int32]
    query_id: NDArray[np.uint32]


@dataclass
class Ranker:
    """A fitted ranker: its trees, and the features it takes in order.

    n_base: how many of its first trees are those of the base it goes on from.
    """

    booster: Any
    features: list[str]
    n_trees: int
    n_base: int = 0

    def score(self, frame: pl.DataFrame, told: Bools | None = None) -> NDArray[np.float64]:
        """Raw scores (r,) of rows that hold the features; only their order within a query means something.

        told (r,): the rows of queries that the trees added to the base speak of; the base alone scores the others. None: all.
        """
        return self._predicted(frame, told, raw_score=True)

    def contributions(self, frame: pl.DataFrame, told: Bools | None = None) -> NDArray[np.float64]:
        """(r, f + 1) SHAP values of each feature (Lundberg et al. 2020), the base value last; a row sums to its raw score."""
        return self._predicted(frame, told, pred_contrib=True)

    def _predicted(self, frame: pl.DataFrame, told: Bools | None, **what: bool) -> NDArray[np.float64]:
        rows = matrix(frame, self.features)
        values = np.asarray(self.booster.predict(rows, **what), np.float64)
        if told is not None and self.n_base and not told.all():
            values[~told] = self.booster.predict(rows[~told], num_iteration=self.n_base, **what)
        return values

    def importance(self) -> dict[str, float]:
        """Total gain of each feature, largest first."""
        gains = self.booster.feature_importance("gain")
        return dict(sorted(zip(self.features, map(float, gains), strict=True), key=lambda pair: (-pair[1], pair[0])))

    def text(self) -> str:
        """The model as LightGBM text."""
        return str(self.booster.model_to_string())

    @classmethod
    def load(cls, path: Path, n_base: int = 0) -> "Ranker":
        """Read LightGBM text, of which the first `n_base` trees are the base's. Raises ArtefactError when it is not."""
        try:
            text = path.read_text()
            if not text.rstrip().endswith("pandas_categorical:null"):  # half a model would end the whole interpreter in C++
                raise ArtefactError(f"{path}: not a whole LightGBM model. Train again.")
            booster = lgb.Booster(model_str=text)
        except (OSError, UnicodeDecodeError, lgb.basic.LightGBMError) as error:
            raise ArtefactError(f"{path}: not a LightGBM model ({error}). Train again.") from None
        return cls(booster, booster.feature_name(), booster.num_trees(), n_base=n_base)


def matrix(frame: pl.DataFrame, features: list[str]) -> NDArray[np.float32]:
    """(r, f) float32, NaN for null: one dtype for training and serving, since rounding moves scores."""
    return frame.select(pl.col(features).cast(pl.Float32).fill_null(float("nan"))).to_numpy(order="c").astype(np.float32, copy=False)


def groups(query_id: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Rows of each query, in order. Raises TableError when the rows of a query are not contiguous or too many.

    LightGBM takes shuffled rows with right group sizes without a word and fits another model.
    """
    starts = np.flatnonzero(np.r_[True, query_id[1:] != query_id[:-1]]) if len(query_id) else np.array([], np.int64)
    if len(np.unique(query_id[starts])) != len(starts):
        raise TableError("ranker rows: the rows of a query are not contiguous. Sort them by query_id.")
    sizes: NDArray[np.int64] = np.diff(np.append(starts, len(query_id)))
    if len(sizes) and sizes.max() > MAX_ROWS_A_QUERY:
        raise TableError(f"ranker rows: a query has {sizes.max()} rows, LightGBM takes {MAX_ROWS_A_QUERY}. Lower candidates.per_source.")
    return sizes


@dataclass(frozen=True)
class Chosen:
    """A number of trees, the base's included; the fit of every turn that had a say, cut there; the mean ndcg@10 after each tree added."""

    n_trees: int
    of_turns: dict[int, Ranker]
    curve: list[float]


def fit(
    rows: Rows,
    features: list[str],
    settings: config.Ranker,
    gains: tuple[float, ...],
    seed: int,
    threads: int,
    n_trees: int,
    base: Ranker | None = None,
) -> Ranker:
    """Fit LambdaMART of exactly `n_trees`.

    base: a ranker of the same features to go on from: its trees come first and count among `n_trees`. Where none is to be added, or
    there is no row to add trees by, that ranker as it is.
    Queries without a positive must have been dropped: LightGBM counts them as a perfect 1.0.
    """
    if base and (n_trees <= base.n_trees or not len(rows.label)):
        return _as_base(base)
    booster = _begun(rows, None, features, settings, gains, seed, threads, base, n_trees)
    return _cut(booster, n_trees, features, base)


def choose(
    turns: Iterable[tuple[Rows, Rows]],
    features: list[str],
    settings: config.Ranker,
    gains: tuple[float, ...],
    seed: int,
    threads: int,
    on_tree: Callable[[int, float], None] | None = None,
    bases: dict[int, Ranker] | None = None,
) -> Chosen:
    """Choose the number of trees on windows held out in turn: (rows to fit, rows held out) of each.

    The fits of all turns grow side by side until the ndcg@10, mean over all queries held out, has not risen for
    `settings.early_stopping` trees. bases: the ranker that each turn goes on from, by the turn's place, all of one size. A turn without
    rows on one side, or without its base, has no say; where none has, no tree is added. `on_tree` hears, after each tree, of the number
    added and of the mean; what it raises ends the choice and passes. Raises TableError when no turn has a say and there is no base.
    """
    n_before = next(iter(bases.values())).n_trees if bases else 0
    grown: dict[int, Any] = {}
    n_queries = []
    for place, (rows, held_out) in enumerate(turns):
        if len(rows.label) and len(held_out.label) and (bases is None or place in bases):
            base = bases[place] if bases else None
            grown[place] = _begun(rows, held_out, features, settings, gains, seed, threads, base, n_before + 1)
            n_queries.append(len(groups(held_out.query_id)))
    if not grown and not bases:
        raise TableError("ranker rows: no window can be held out: fewer than two have a query with a positive. Raise time.n_folds.")
    curve: list[float] = []
    while grown and len(curve) < settings.trees and _rising(curve, settings.early_stopping):
        if curve:
            for booster in grown.values():
                booster.update()
        curve.append(float(np.average([booster.eval_valid()[0][2] for booster in grown.values()], weights=n_queries)))
        if on_tree:
            on_tree(len(curve), curve[-1])
    n_trees = n_before + (int(np.argmax(curve)) + 1 if curve else 0)
    of_turns = {place: _cut(booster, n_trees, features, bases[place] if bases else None) for place, booster in grown.items()}
    return Chosen(n_trees, of_turns, curve)


def _rising(curve: list[float], patience: int) -> bool:
    return not curve or len(curve) - 1 - int(np.argmax(curve)) < patience


def _begun(
    rows: Rows,
    held_out: Rows | None,
    features: list[str],
    settings: config.Ranker,
    gains: tuple[float, ...],
    seed: int,
    threads: int,
    base: Ranker | None,
    n_trees: int,
) -> Any:
    """A booster of `n_trees` that can grow further."""
    unknown = sorted(set(settings.monotone) - set(features))
    if unknown:
        raise ConfigError(f"ranker.monotone: no such feature: {', '.join(unknown)}{nearest(unknown[0], features)}")
    train, n_before = _dataset(rows, features), base.n_trees if base else 0
    return lgb.train(
        # With the base's seed the first trees added would be fitted on the very queries of its first ones.
        _parameters(features, settings, gains, seed + n_before, threads),
        train,
        num_boost_round=n_trees - n_before,
        init_model=base.booster if base else None,
        valid_sets=[_dataset(held_out, features, train)] if held_out else None,
        keep_training_booster=True,
    )


def _cut(booster: Any, n_trees: int, features: list[str], base: Ranker | None) -> Ranker:
    kept = lgb.Booster(model_str=booster.model_to_string(num_iteration=n_trees))
    return Ranker(kept, features, kept.num_trees(), base.n_trees if base else 0)


def _as_base(base: Ranker) -> Ranker:
    """A ranker that adds nothing to its base."""
    return replace(base, n_base=base.n_trees)


def _dataset(rows: Rows, features: list[str], reference: Any = None) -> Any:
    categorical = [name for name in CATEGORICAL if name in features]
    sizes = groups(rows.query_id)
    return lgb.Dataset(rows.features, rows.label, group=sizes, feature_name=features, categorical_feature=categorical, reference=reference)


def _parameters(features: list[str], settings: config.Ranker, gains: tuple[float, ...], seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "label_gain": list(gains),
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_rows_leaf,
        "feature_fraction": settings.feature_share,
        # Few queries have a positive, and split points found on them are mostly luck: random ones (extremely randomised trees,
        # Geurts et al. 2006) over half of the queries a tree rank better on later days than the best split points do.
        "extra_trees": True,
        "bagging_fraction": QUERY_SHARE,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "monotone_constraints": [settings.monotone.get(name, 0) for name in features],
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": threads,
        "verbosity": -1,
    }

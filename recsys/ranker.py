"""LightGBM LambdaMART over ranker rows (Burges 2010; Ke et al. 2017): groups checked, deterministic, saved as LightGBM text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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
    """Ranker rows: features (r, f) float32 with NaN where missing, label (r,) int32, query_id (r,), rows of a query contiguous.

    position (r,) int32: the place it was shown at, from 1; 0 throughout a query of candidates, shown or not. None: all are such.
    """

    features: NDArray[np.float32]
    label: NDArray[np.int32]
    query_id: NDArray[np.uint32]
    position: NDArray[np.int32] | None = None

    def where(self, kept: NDArray[Any]) -> "Rows":
        """Some of the rows, by mask or place."""
        position = None if self.position is None else self.position[kept]
        return Rows(self.features[kept], self.label[kept], self.query_id[kept], position)


@dataclass
class Ranker:
    """A fitted ranker: its trees, the features it takes in order, and its learning curve.

    n_base: how many of its first trees are those of the base it goes on from.
    """

    booster: Any
    features: list[str]
    n_trees: int
    curve: list[float] = field(default_factory=list)
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


@dataclass(frozen=True)
class Paths:
    """What a ranker's trees add to a score, by group of features, on the way from the root to the leaf of a row (Saabas 2014).

    A split adds, to the group of its feature, the mean of the side taken minus the mean of both: so base and groups sum to the raw
    score. It is some seventy times as fast as SHAP values and, unlike them, gives splits near the leaves more than their due.
    root (t,): a tree's mean over the rows it was fitted on; added: by tree (leaves, g), both float64.
    """

    model: Ranker
    groups: list[str]
    root: NDArray[np.float64]
    added: list[NDArray[np.float64]]

    @classmethod
    def of(cls, model: Ranker, group_of: dict[str, str], groups: list[str]) -> "Paths":
        """group_of: feature -> one of `groups`, for every feature of the ranker."""
        column = np.array([groups.index(group_of[name]) for name in model.features])
        trees = [_way_of_leaves(tree, column, len(groups)) for tree in _trees(model.text())]
        return cls(model, groups, np.array([root for root, _ in trees]), [added for _, added in trees])

    def contributions(self, frame: pl.DataFrame, told: Bools | None = None) -> NDArray[np.float64]:
        """(r, g + 1): what each group adds to the raw score of a row, the base last. told: as in `Ranker.score`."""
        found = np.zeros((frame.height, len(self.groups) + 1))
        if not frame.height:
            return found
        leaves = self.model.booster.predict(matrix(frame, self.model.features), pred_leaf=True).T.copy()
        n_base = self.model.n_base or len(self.added)
        asked = slice(None) if told is None or told.all() else told
        for tree, (root, added) in enumerate(zip(self.root, self.added, strict=True)):
            of_tree = asked if tree >= n_base else slice(None)
            found[of_tree, :-1] += added[leaves[tree, of_tree]]
            found[of_tree, -1] += root
        return found


def _trees(text: str) -> Iterator[dict[str, NDArray[np.float64]]]:
    """The arrays of each tree of a LightGBM text, by name."""
    for part in text.split("\nTree=")[1:]:
        lines = dict(line.split("=", 1) for line in part.split("\n\n", 1)[0].split("\n")[1:])
        yield {
            name: np.array(lines[name].split(), float)
            for name in ("split_feature", "left_child", "right_child", "leaf_value", "leaf_count")
        }


def _way_of_leaves(tree: dict[str, NDArray[np.float64]], column: NDArray[np.int64], n_groups: int) -> tuple[float, NDArray[np.float64]]:
    """A tree's mean, and what the way to each of its leaves adds by group (leaves, g).

    A node is numbered after its parent; a child below 0 is the leaf `-child - 1`.
    """
    n_nodes = len(tree["split_feature"])
    children = np.stack([tree["left_child"], tree["right_child"]], axis=1).astype(int)
    places = np.where(children < 0, n_nodes - 1 - children, children)  # nodes first, then leaves
    count = np.append(np.zeros(n_nodes), tree["leaf_count"])
    mean = np.append(np.zeros(n_nodes), tree["leaf_value"])
    for node in range(n_nodes - 1, -1, -1):
        both = places[node]
        count[node] = count[both].sum()
        mean[node] = mean[both] @ count[both] / count[node]
    added = np.zeros((len(mean), n_groups))
    for node in range(n_nodes):
        added[places[node]] = added[node]
        added[places[node], column[int(tree["split_feature"][node])]] += mean[places[node]] - mean[node]
    return float(mean[0]), added[n_nodes:]


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


def fit(
    rows: Rows,
    valid: Rows | None,
    features: list[str],
    settings: config.Ranker,
    gains: tuple[float, ...],
    seed: int,
    threads: int,
    n_trees: int | None = None,
    on_tree: Callable[[int, float], None] | None = None,
    base: Ranker | None = None,
) -> Ranker:
    """Fit LambdaMART. With `valid`, early stopping on its ndcg@10; without, exactly `n_trees`.

    base: a ranker of the same features to go on from: its trees come first and count among `n_trees`, the curve is that of those added.
    Where none is to be added, or there is no row to add trees by, that ranker as it is.
    `on_tree` hears, after each tree, of the number added and of the ndcg@10 on `valid`; what it raises ends the fit and passes.
    Queries without a positive must have been dropped: LightGBM counts them as a perfect 1.0.
    """
    unknown = sorted(set(settings.monotone) - set(features))
    if unknown:
        raise ConfigError(f"ranker.monotone: no such feature: {', '.join(unknown)}{nearest(unknown[0], features)}")
    if base and ((n_trees is not None and n_trees <= base.n_trees) or not len(rows.label) or (valid and not len(valid.label))):
        return replace(base, curve=[], n_base=base.n_trees)
    train, n_before = _dataset(rows, features), base.n_trees if base else 0
    curve: dict[str, Any] = {}
    callbacks = [lgb.record_evaluation(curve)] if valid else []
    if valid:
        callbacks.append(lgb.early_stopping(settings.early_stopping, verbose=False))
    if on_tree:
        callbacks.append(lambda state: on_tree(state.iteration + 1 - n_before, state.evaluation_result_list[0][2]))
    booster = lgb.train(
        # With the base's seed the first trees added would be fitted on the very queries of its first ones.
        _parameters(features, settings, gains, seed + n_before, threads),
        train,
        num_boost_round=n_trees - n_before if n_trees else settings.trees,
        init_model=base.booster if base else None,
        valid_sets=[_dataset(valid, features, train)] if valid else None,
        callbacks=callbacks,
    )
    best = booster.best_iteration if valid and booster.best_iteration > 0 else booster.num_trees()
    kept = lgb.Booster(model_str=booster.model_to_string(num_iteration=best))
    return Ranker(kept, features, best, next(iter(curve["valid_0"].values())) if valid and curve else [], n_before)


def _dataset(rows: Rows, features: list[str], reference: Any = None) -> Any:
    categorical = [name for name in CATEGORICAL if name in features]
    sizes = groups(rows.query_id)
    # What was clicked on a high place was looked at more: LightGBM learns what a place adds and takes it out (`position`).
    position = rows.position if rows.position is not None and rows.position.any() and reference is None else None
    given = {"group": sizes, "feature_name": features, "categorical_feature": categorical, "reference": reference, "position": position}
    return lgb.Dataset(rows.features, rows.label, **given)


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

"""What a change to the lists costs or brings: the same system's lists with and without it, on the same users."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from recsys import metrics
from recsys.evaluate.intervals import Figure, Paired, coverage_figure, mean_figure, paired_figures
from recsys.evaluate.question import Question
from recsys.evaluate.verdict import without_nan

METRIC = "ndcg@10"


@dataclass(frozen=True)
class Price:
    """Of one kind of lists: ndcg@10, its paired difference against the lists without the change (None: these are they), coverage@10,
    revenue@10 added up over all judged users; None where no relevant item has a price.
    """

    name: str
    ndcg: Figure
    difference: Paired | None
    coverage: Figure
    revenue: float | None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def price_lists(lists: Mapping[str, pl.DataFrame], question: Question, without: str, bootstrap: int, seed: int) -> list[Price]:
    """A Price of each kind of lists (as `judge` takes them), against those of the name `without`.

    The prices are those of the question's catalogue. Raises TableError as `judge` does.
    """
    dense = {name: question.lists(frame, name) for name, frame in lists.items()}
    hits = {name: places.label >= question.relevant_from for name, places in dense.items()}
    per_user = {name: {METRIC: metrics.ndcg(hit, question.n_relevant)} for name, hit in hits.items()}
    others = [(name, without) for name in lists if name != without]
    paired = {pair.a: pair for pair in paired_figures(per_user, others, METRIC, bootstrap, seed)}
    n_items = question.catalogue.height
    worth = question.worth
    return [
        Price(
            name,
            mean_figure(per_user[name][METRIC], bootstrap, seed),
            paired.get(name),
            coverage_figure(metrics.coverage(places.item_index, n_items), places.item_index, n_items),
            None if worth is None else float(metrics.revenue(hits[name], worth[places.item_index]).sum()),
        )
        for name, places in dense.items()
    ]

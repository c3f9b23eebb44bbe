"""How well the text model tells what is chosen from what is ignored, before and after fine-tuning, side by side."""

import math
from collections.abc import Mapping

from recsys.report.plain import MISSING, aligned, figure

Figures = Mapping[str, float | int | None]
"""What `recsys.metrics.classification` gives, or what a report keeps of it (None for NaN)."""

CLASSES = {"positive": "chosen", "negative": "ignored"}
MEASURES = ("precision", "recall", "f1", "support")
WHOLE = {"accuracy": "accuracy", "roc_auc": "ROC AUC"}


def classification_text(before: Figures, after: Figures) -> str:
    """The table of both classes and of the whole: before, after and the difference; `-` where a figure is undefined."""
    rows = [(f"{name} {measure}", f"{side}_{measure}") for side, name in CLASSES.items() for measure in MEASURES]
    rows += [(name, key) for key, name in WHOLE.items()]
    cells = [[name, _cell(key, before[key]), _cell(key, after[key]), _change(key, before[key], after[key])] for name, key in rows]
    title = "Chosen or ignored: what was shown, before and after fine-tuning"
    return f"{title}\n" + aligned(("", "before", "after", "difference"), cells)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _cell(key: str, value: float | None) -> str:
    known = _defined(value)
    return f"{known:,.0f}" if known is not None and key.endswith("_support") else figure(known)


def _change(key: str, before: float | None, after: float | None) -> str:
    one, other = _defined(before), _defined(after)
    if one is None or other is None or key.endswith("_support"):
        return MISSING
    return figure(other - one, sign="+")

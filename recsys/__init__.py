"""recsys: the recommender with a text brain that a small team can run every night and trust.

The Python face, imported lazily so that `import recsys` costs nothing:

    from recsys import train, rank, suggest, load_run
    run = train("recsys.toml")               # a recsys.artefacts.Run: run_id, table(name), record(name)
    folder = rank("recsys.toml", k=10)       # the published folder
    items = suggest("recsys.toml", "wooden toys for a two-year-old")   # a polars frame: rank, item_id, title, score
    report = load_run("recsys.toml").record("report")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.face import load_run, rank, suggest, train

__all__ = ["load_run", "rank", "suggest", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from recsys import face

        return getattr(face, name)
    raise AttributeError(f"module 'recsys' has no attribute {name!r}")

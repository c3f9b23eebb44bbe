"""What `recsys show USER` prints: what somebody did last, the list that a night offers them, and why each item is in it."""

from datetime import datetime
from typing import Any

import polars as pl

from recsys.artefacts import Home, Run
from recsys.errors import SourceError
from recsys.report.calibration import percent
from recsys.report.explained import explained_text, explanations_of, why
from recsys.report.items import items_of
from recsys.report.people import history_of, tonight_of, user_ids
from recsys.report.plain import MISSING, aligned, figure
from recsys.schema import CHANCES

N_EVENTS = 10
"""Latest events that are shown."""

N_NEAR = 3


def shown_user(home: Home, night_id: str | None, user_id: str) -> dict[str, Any]:
    """user_id, night_id, as_of, run_id, `list` and `history` (latest first), ready for JSON.

    Each row of the list has its `why`, None where the night keeps no explanations.
    Raises SourceError for somebody who has neither a list nor a history there, ArtefactError where nothing is published.
    """
    night = home.night(night_id)
    listed, past = tonight_of(home, night_id, user_id), history_of(home, night, user_id).head(N_EVENTS)
    if listed.is_empty() and past.is_empty():
        near = user_ids(home, night, user_id, N_NEAR) or user_ids(home, night, limit=N_NEAR)
        raise SourceError(
            f"{user_id!r} has neither a list nor a history in night {night.run_id}. There are, for example: {', '.join(near)}."
        )
    whys = whys_of(home, night, user_id)
    rows = [row | {"why": whys.get(row["item_id"])} for row in _plain(listed)]
    said = {key: night.manifest[key] for key in ("as_of", "run_id")}
    return {"user_id": user_id, "night_id": night.run_id, **said, "list": rows, "history": _plain(past)}


def user_text(shown: dict[str, Any]) -> str:
    """The same as tables for the terminal."""
    past = [[row["event_time"][:16].replace("T", " "), row["event_type"], row["item_id"], row["title"]] for row in shown["history"]]
    listed = [
        [str(row["rank"]), row["item_id"], row["title"], _price(row["price"]), figure(row["score"])]
        + [percent(row[name]) for name in CHANCES]
        + [row["reason"]]
        for row in shown["list"]
    ]
    parts = [f"User {shown['user_id']}, night {shown['night_id']}, as of {shown['as_of'][:16]}, run {shown['run_id']}"]
    parts.append(
        "The latest events before it\n" + aligned(("when, UTC", "what", "item_id", "title"), past, n_left=4)
        if past
        else "No event before it."
    )
    header = ("rank", "item_id", "title", "price", "score", "clicks", "buys", "reason")
    parts.append("The list\n" + aligned(header, listed, n_left=8) if listed else "No list: the user was not among those that were ranked.")
    if listed:
        parts.append(explained_text(shown["list"]))
    return "\n\n".join(parts)


def whys_of(home: Home, night: Run, user_id: str) -> dict[str, dict[str, Any]]:
    """item_id -> `why` of each item of a user's list; empty where the night keeps no explanations."""
    explained = explanations_of(night, user_id)
    near = explained["because_item_id"].drop_nulls().unique()
    titles = dict(items_of(home, night, near).select("item_id", "title").iter_rows()) if len(near) else {}
    return {row["item_id"]: why(row, titles) for row in explained.iter_rows(named=True)}


def _price(price: float | None) -> str:
    return MISSING if price is None else f"{price:.2f}"


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: None where there is nothing, times as ISO."""
    return [{key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()} for row in frame.to_dicts()]

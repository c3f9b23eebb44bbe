"""A run to small ready tables for people: text for the terminal, frames for the dashboard. Imports neither torch nor lightgbm."""

from recsys.report.classification import classification_text
from recsys.report.frames import (
    curves_frames,
    importance_frame,
    paired_frame,
    recall_frame,
    seconds_frame,
    slices_frame,
    systems_frame,
    tasks_of,
    windows_frame,
)
from recsys.report.people import history_of, nights, tonight_of, user_ids
from recsys.report.trials import search_text
from recsys.report.words import checks_table, object_of, suggestions_text, verdict_text

__all__ = [
    "checks_table",
    "classification_text",
    "curves_frames",
    "history_of",
    "importance_frame",
    "nights",
    "object_of",
    "paired_frame",
    "recall_frame",
    "search_text",
    "seconds_frame",
    "slices_frame",
    "suggestions_text",
    "systems_frame",
    "tasks_of",
    "tonight_of",
    "user_ids",
    "verdict_text",
    "windows_frame",
]

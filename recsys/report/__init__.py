"""A run to small ready tables for people: text for the terminal, frames for the dashboard. Imports neither torch nor lightgbm."""

from recsys.report.ablation import ablation_text, answer, chance, headline, notes
from recsys.report.classification import classification_text
from recsys.report.forgotten import forgotten_text
from recsys.report.frames import (
    curves_frames,
    differences_frame,
    has_ablation,
    importance_frame,
    monitoring_frame,
    paired_frame,
    recall_frame,
    seconds_frame,
    sliced_frame,
    slices_frame,
    systems_frame,
    tasks_of,
    variants_frame,
    windows_frame,
)
from recsys.report.models import models_object, models_text
from recsys.report.nightly import nightly_object, nightly_text
from recsys.report.people import history_of, nights, tonight_of, user_ids
from recsys.report.ruled import ruled_night, ruled_text, rules_text
from recsys.report.show import shown_user, user_text
from recsys.report.trials import search_text
from recsys.report.words import checks_object, checks_table, chosen_text, object_of, started_text, suggestions_text, verdict_text

__all__ = [
    "ablation_text",
    "answer",
    "chance",
    "checks_object",
    "checks_table",
    "chosen_text",
    "classification_text",
    "curves_frames",
    "differences_frame",
    "forgotten_text",
    "has_ablation",
    "headline",
    "history_of",
    "importance_frame",
    "models_object",
    "models_text",
    "monitoring_frame",
    "nightly_object",
    "nightly_text",
    "nights",
    "notes",
    "object_of",
    "paired_frame",
    "recall_frame",
    "ruled_night",
    "ruled_text",
    "rules_text",
    "search_text",
    "seconds_frame",
    "shown_user",
    "sliced_frame",
    "slices_frame",
    "started_text",
    "suggestions_text",
    "systems_frame",
    "tasks_of",
    "tonight_of",
    "user_ids",
    "user_text",
    "variants_frame",
    "verdict_text",
    "windows_frame",
]

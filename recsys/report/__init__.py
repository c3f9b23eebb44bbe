"""A run to small ready tables for people: text for the terminal, frames for the dashboard. Imports neither torch nor lightgbm."""

from recsys.evaluate import ANCHORS
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
    runs_frame,
    seconds_frame,
    sliced_frame,
    slices_frame,
    systems_frame,
    tasks_of,
    variants_frame,
    windows_frame,
)
from recsys.report.items import NEW_DAYS, item_of, items_of, moment_of, new_items, search_items
from recsys.report.models import models_object, models_text
from recsys.report.newcomer import Choices, newcomer_list
from recsys.report.nightly import nightly_object, nightly_text
from recsys.report.nights import listed, listed_for, night_checks, nights
from recsys.report.people import active_users, history_of, moves, source_of, tonight_of, user_ids
from recsys.report.rows import SEEN_IN
from recsys.report.ruled import ruled_night, ruled_text, rules_frames, rules_text
from recsys.report.show import shown_user, user_text
from recsys.report.sliced import TOO_FEW, anchors_line, slice_notes
from recsys.report.trials import search_text
from recsys.report.vectors import TextVectors, text_vectors
from recsys.report.volumes import checks_frame, counts_frame, volumes_frame
from recsys.report.words import checks_object, checks_table, chosen_text, object_of, started_text, suggestions_text, verdict_text

__all__ = [
    "ANCHORS",
    "NEW_DAYS",
    "SEEN_IN",
    "TOO_FEW",
    "Choices",
    "TextVectors",
    "ablation_text",
    "active_users",
    "anchors_line",
    "answer",
    "chance",
    "checks_frame",
    "checks_object",
    "checks_table",
    "chosen_text",
    "classification_text",
    "counts_frame",
    "curves_frames",
    "differences_frame",
    "forgotten_text",
    "has_ablation",
    "headline",
    "history_of",
    "importance_frame",
    "item_of",
    "items_of",
    "listed",
    "listed_for",
    "models_object",
    "models_text",
    "moment_of",
    "monitoring_frame",
    "moves",
    "new_items",
    "newcomer_list",
    "night_checks",
    "nightly_object",
    "nightly_text",
    "nights",
    "notes",
    "object_of",
    "paired_frame",
    "recall_frame",
    "ruled_night",
    "ruled_text",
    "rules_frames",
    "rules_text",
    "runs_frame",
    "search_items",
    "search_text",
    "seconds_frame",
    "shown_user",
    "slice_notes",
    "sliced_frame",
    "slices_frame",
    "source_of",
    "started_text",
    "suggestions_text",
    "systems_frame",
    "tasks_of",
    "text_vectors",
    "tonight_of",
    "user_ids",
    "user_text",
    "variants_frame",
    "verdict_text",
    "volumes_frame",
    "windows_frame",
]

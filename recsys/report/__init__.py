"""A run to small ready tables for people: text for the terminal, frames for the dashboard. Imports neither torch nor lightgbm."""

from recsys.evaluate import ANCHORS
from recsys.report.ablation import ablation_text, answer, chance, headline, notes
from recsys.report.backtest import backtest_notes, backtest_object, backtest_text, backtests
from recsys.report.calibration import (
    absent,
    calibration_text,
    chance_words,
    chances_sliced_frame,
    has_calibration,
    reliability_frame,
    said_frame,
)
from recsys.report.changed import changed
from recsys.report.classification import classification_text
from recsys.report.compare import NO_SLICES, compared, judged, reached, sliced
from recsys.report.compare_words import NO_LISTS, answer_lines, compared_text, reach_lines
from recsys.report.explained import NO_EXPLANATIONS, families_frame
from recsys.report.forgotten import forgotten_text
from recsys.report.frames import (
    backtest_frame,
    backtest_paired_frame,
    curves_frames,
    cutoffs_frame,
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
from recsys.report.further import grouped_auc_text, health_text
from recsys.report.gate import gate_exit_code, gate_text
from recsys.report.glossary import meanings
from recsys.report.items import NEW_DAYS, item_of, items_of, moment_of, new_items, search_items
from recsys.report.models import models_object, models_text, run_states
from recsys.report.newcomer import Choices, newcomer_list
from recsys.report.nightly import nightly_object, nightly_text
from recsys.report.nights import listed, listed_for, night_checks, nights
from recsys.report.offpolicy import QUESTIONS, looks_frame, off_policy_frame, off_policy_text, why_no_off_policy
from recsys.report.people import active_users, history_of, moves, source_of, tonight_of, user_ids
from recsys.report.rows import SEEN_IN
from recsys.report.ruled import ruled_night, ruled_text, rules_frames, rules_text
from recsys.report.show import shown_user, user_text, whys_of
from recsys.report.sliced import TOO_FEW, anchors_line, slice_notes
from recsys.report.trials import search_text
from recsys.report.unlike import chosen_rows, config_rows, cost_rows, feature_rows, shown, table_rows, window_rows
from recsys.report.vectors import TextVectors, text_vectors
from recsys.report.versus import Versus, advice, obstacles, remarks, shared_tasks, versus
from recsys.report.volumes import checks_frame, counts_frame, volumes_frame
from recsys.report.words import checks_object, checks_table, chosen_text, object_of, started_text, suggestions_text, verdict_text

__all__ = [
    "ANCHORS",
    "NEW_DAYS",
    "NO_EXPLANATIONS",
    "NO_LISTS",
    "NO_SLICES",
    "QUESTIONS",
    "SEEN_IN",
    "TOO_FEW",
    "Choices",
    "TextVectors",
    "Versus",
    "ablation_text",
    "absent",
    "active_users",
    "advice",
    "anchors_line",
    "answer",
    "answer_lines",
    "backtest_frame",
    "backtest_notes",
    "backtest_object",
    "backtest_paired_frame",
    "backtest_text",
    "backtests",
    "calibration_text",
    "chance",
    "chance_words",
    "chances_sliced_frame",
    "changed",
    "checks_frame",
    "checks_object",
    "checks_table",
    "chosen_rows",
    "chosen_text",
    "classification_text",
    "compared",
    "compared_text",
    "config_rows",
    "cost_rows",
    "counts_frame",
    "curves_frames",
    "cutoffs_frame",
    "differences_frame",
    "families_frame",
    "feature_rows",
    "forgotten_text",
    "gate_exit_code",
    "gate_text",
    "grouped_auc_text",
    "has_ablation",
    "has_calibration",
    "headline",
    "health_text",
    "history_of",
    "importance_frame",
    "item_of",
    "items_of",
    "judged",
    "listed",
    "listed_for",
    "looks_frame",
    "meanings",
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
    "obstacles",
    "off_policy_frame",
    "off_policy_text",
    "paired_frame",
    "reach_lines",
    "reached",
    "recall_frame",
    "reliability_frame",
    "remarks",
    "ruled_night",
    "ruled_text",
    "rules_frames",
    "rules_text",
    "run_states",
    "runs_frame",
    "said_frame",
    "search_items",
    "search_text",
    "seconds_frame",
    "shared_tasks",
    "shown",
    "shown_user",
    "slice_notes",
    "sliced",
    "sliced_frame",
    "slices_frame",
    "source_of",
    "started_text",
    "suggestions_text",
    "systems_frame",
    "table_rows",
    "tasks_of",
    "text_vectors",
    "tonight_of",
    "user_ids",
    "user_text",
    "variants_frame",
    "verdict_text",
    "versus",
    "volumes_frame",
    "why_no_off_policy",
    "whys_of",
    "window_rows",
    "windows_frame",
]

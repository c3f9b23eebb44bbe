"""What `recsys search` prints: the best trials of each part with their settings, and the lines for recsys.toml."""

import textwrap
from typing import TYPE_CHECKING

from recsys.report.plain import WIDTH, aligned, figure

if TYPE_CHECKING:
    from recsys.pipeline.search import Found, Part
    from recsys.study import Trial

SHOWN = 10
"""Trials of a part that are printed, beside the one with the settings as they are."""


def search_text(found: "Found") -> str:
    """The best trials of each part in order, and the lines to paste."""
    said = (
        "A trial's figure chose it, so it flatters: `recsys train` with these settings is their judge. "
        "No trial has seen the test window, nor anything after it."
    )
    parts = [_part_text(part) for part in found.parts]
    return "\n\n".join([*parts, "For recsys.toml\n" + textwrap.indent(found.lines, "  "), textwrap.fill(said, WIDTH)])


def _part_text(part: "Part") -> str:
    told = {state: sum(trial.state == state for trial in part.trials) for state in ("complete", "pruned", "failed")}
    counts = ", ".join(f"{count} {state}" for state, count in told.items() if count)
    best = sorted((-t.figure, t.number, t) for t in part.trials if t.state == "complete" and t.figure is not None)[:SHOWN]
    shown = list(dict.fromkeys([*(number for _, number, _ in best), 0]))
    header = ("trial", "figure", "gain", "seconds", *part.own)
    cells = [_cells(part.trials[number], part) for number in shown]
    return f"[{part.section}] by {part.measure}; {len(part.trials)} trials: {counts}\n" + aligned(header, cells)


def _cells(trial: "Trial", part: "Part") -> list[str]:
    own = part.trials[0].figure
    gain = None if trial.figure is None or own is None else trial.figure - own
    settings = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in (part.own | trial.settings).values()]
    name = str(trial.number) if trial.number else "0 (as it is)"
    return [name, figure(trial.figure), figure(gain, sign="+"), f"{trial.seconds:,.1f}", *settings]

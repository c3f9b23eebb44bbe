"""Figures and tables as plain text: what every printed part of a report is made of."""

import textwrap
from collections.abc import Iterable, Sequence

MISSING = "-"
"""Printed for a figure that is undefined: the mean of nobody, the share of nothing."""

WIDTH = 110
"""Columns of the terminal that the verdict is made for."""


def aligned(header: Sequence[str], body: Iterable[Sequence[str]], n_left: int = 1) -> str:
    """A table as text: the first `n_left` columns to the left, the others to the right, as wide as their longest cell."""
    lines = [list(header), *map(list, body)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join("  " + _line(line, widths, n_left) for line in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int], n_left: int) -> str:
    padded = [
        cell.ljust(width) if place < n_left else cell.rjust(width) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def figure(value: float | None, digits: int = 4, sign: str = "") -> str:
    """A figure with so many digits; `-` where it is undefined."""
    return MISSING if value is None else f"{value:{sign}.{digits}f}"


def prose(*sentences: str) -> str:
    """Each sentence on a line of its own, broken between words where it is longer than a terminal is wide."""
    return "\n".join(textwrap.fill(one, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) for one in sentences)


def share(value: float | None) -> str:
    """A share as per cent with one digit; `-` where it is undefined."""
    return MISSING if value is None else f"{value:.1%}"

"""Figures as the text that Prometheus reads, version 0.0.4: HELP and TYPE of each metric, then its rows of labels and value."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Gauge:
    """A metric whose value goes up and down. rows: the labels of each and its value; no two of the same labels."""

    name: str
    meaning: str
    rows: list[tuple[dict[str, str], float]]


def exposition(gauges: Iterable[Gauge]) -> str:
    """The text of the gauges that have a row, without times: node_exporter's textfile collector takes none."""
    return "".join(_text(gauge) for gauge in gauges if gauge.rows)


def _text(gauge: Gauge) -> str:
    meaning = gauge.meaning.replace("\\", r"\\").replace("\n", r"\n")
    head = [f"# HELP {gauge.name} {meaning}", f"# TYPE {gauge.name} gauge"]
    return "\n".join([*head, *(f"{gauge.name}{_labels(labels)} {value!r}" for labels, value in gauge.rows), ""])


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

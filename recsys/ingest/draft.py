"""Guesses to a recsys.toml that a person can read and change: every line with its reason, every doubt above what it is about."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from recsys.config_tables import EventType
from recsys.ingest.guess import Guesses

UNKNOWN = "?"
"""Stands after what a person has to fill in; the key is empty, so that no command takes the file before."""


@dataclass(frozen=True)
class Setting:
    """One line of a section: a whole number or a word, and why."""

    section: str
    key: str
    value: int | str
    why: str


@dataclass(frozen=True)
class Source:
    """Where a table is, as the config says it, what was guessed of it, and the columns of the shop that no guess uses."""

    path: str
    guesses: Guesses
    unused: tuple[str, ...]


def draft(items: Source, events: Source, settings: tuple[Setting, ...]) -> str:
    """The text of the config; where both tables are in one place, items come out of the events."""
    return "\n".join(
        [
            "# Written by `recsys init` from a look at the files. What stands behind a # is why; paths are relative to this file.",
            "# A key that is not here has its default: docs/config.md lists them all. `recsys check` says whether all of it fits.",
            "",
            "[project]",
            *_settings(settings, "project"),
            "",
            "[items]",
            *_source(items, "items", items.path == events.path),
            "",
            "[events]",
            *_source(events, "events", False),
            *_types(events.guesses.types),
            *_section(settings, "time"),
            *_section(settings, "text"),
            "",
        ]
    )


def _source(source: Source, table: str, from_events: bool) -> Iterator[str]:
    yield f"path = {_toml(source.path)}"
    if from_events:
        yield "from_events = true  # no table of items was given: an article's text is its earliest usable spelling in the events"
    if source.guesses.time_format != "iso":
        yield f"time_format = {_toml(source.guesses.time_format)}"
    yield from (_comment(f"look: {doubt}") for doubt in source.guesses.doubts)
    yield ""
    yield f"[{table}.columns]  # our column = your column, or an SQL expression over your columns"
    for name, guess in source.guesses.columns.items():
        yield f"{name} = {_toml(guess.expression)}" + (f"  {_comment(guess.why)}" if guess.why else "")
    for name, choice in source.guesses.unknown.items():
        yield f'{name} = ""  {_comment(f"{UNKNOWN} which of: {choice}")}'
    if source.unused:
        yield _comment(f"not used: {', '.join(source.unused)}")


def _types(types: dict[str, EventType]) -> Iterator[str]:
    if types:
        yield ""
        yield "# What each kind of event counts in training the text model (weight), and how relevant it makes an item (label)."
    for ours, kind in types.items():
        yield f"[events.types.{ours}]"
        if kind.names:
            yield f"names = [{', '.join(_toml(name) for name in kind.names)}]"
        yield f"weight = {kind.weight}"
        yield f"label = {kind.label}"
        yield ""


def _section(settings: tuple[Setting, ...], section: str) -> Iterator[str]:
    lines = list(_settings(settings, section))
    if lines:
        yield from ("", f"[{section}]", *lines)


def _settings(settings: tuple[Setting, ...], section: str) -> Iterator[str]:
    for one in settings:
        if one.section == section:
            value = one.value if isinstance(one.value, int) else _toml(one.value)
            yield f"{one.key} = {value}" + (f"  {_comment(one.why)}" if one.why else "")


def _comment(text: str) -> str:
    """One line, whatever the shop's names hold."""
    return "# " + "".join(character if character.isprintable() else " " for character in text)


def _toml(text: str) -> str:
    """A TOML string: a literal one where that spares escapes."""
    if not set(text) & set('"\\') and text.isprintable():
        return f'"{text}"'
    if "'''" not in text and not text.endswith("'") and text.isprintable():
        return f"'''{text}'''"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one control character that JSON leaves and TOML refuses

"""The text of an item, and the name under which its vector is kept: what the text stage encodes and a report finds again, without torch."""

import hashlib

import polars as pl

from recsys.config import TEMPLATE
from recsys.schema import OWN_TEXTS

VISIBLE = r"[^\s\p{Cc}\p{Cf}]"
"""Anything but blanks, control characters and marks without a shape of their own (zero-width, direction)."""


def item_texts(items: pl.DataFrame, template: tuple[str, ...] = TEMPLATE) -> list[str]:
    """The text of each item: the template's columns, those with something visible in them, joined by a full stop.

    Empty when the item has none of its own (title, description, attributes): a brand or a category alone says nothing of it.
    """
    given = {name: pl.when(pl.col(name).str.contains(VISIBLE)).then(pl.col(name).str.strip_chars()) for name in template}
    own = [given[name].is_not_null() for name in template if name in OWN_TEXTS]
    joined = pl.concat_str(list(given.values()), separator=". ", ignore_nulls=True)
    return items.select(text=pl.when(pl.any_horizontal(own)).then(joined).otherwise(pl.lit("")))["text"].to_list()


def title_first(template: tuple[str, ...]) -> tuple[str, ...]:
    """The template of a text that is longer than the encoder's cut: what is cut is never the title."""
    return ("title", *(name for name in template if name != "title")) if "title" in template else template


def text_digests(texts: list[str]) -> list[str]:
    """32 hex digits of each text: its name in a `VectorCache`."""
    return [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]

"""The text of an item: the columns that the template names, joined in its order."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.config import TEMPLATE
from recsys.schema import OWN_TEXTS
from recsys.text.encoder import Encoder

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


def encoder_texts(items: pl.DataFrame, template: tuple[str, ...], encoder: Encoder) -> list[str]:
    """`item_texts`, in which a text longer than the encoder's cut begins with its title: what is cut is never the title.

    The other columns share the tokens that are left, in the template's order.
    """
    texts = item_texts(items, template)
    if "title" not in template[1:]:
        return texts
    title_first = item_texts(items, ("title", *(name for name in template if name != "title")))
    return [text if fits else other for text, other, fits in zip(texts, title_first, encoder.fits(texts), strict=True)]


def text_groups(texts: list[str]) -> NDArray[np.int64]:
    """(n,) int64: one number a distinct text, 0 for the empty one."""
    # No array of strings: NumPy gives each the width of the longest.
    numbers = {text: number for number, text in enumerate(sorted({*texts} - {""}), 1)}
    return np.array([numbers.get(text, 0) for text in texts], np.int64)

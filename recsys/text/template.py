"""The texts of items as an encoder takes them: the template's order, or the title first where they are cut; and equal ones told apart."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.item_text import item_texts, title_first
from recsys.text.encoder import Encoder


def encoder_texts(items: pl.DataFrame, template: tuple[str, ...], encoder: Encoder) -> list[str]:
    """`item_texts`, in which a text longer than the encoder's cut begins with its title: what is cut is never the title.

    The other columns share the tokens that are left, in the template's order.
    """
    texts = item_texts(items, template)
    if title_first(template) == template:
        return texts
    others = item_texts(items, title_first(template))
    return [text if fits else other for text, other, fits in zip(texts, others, encoder.fits(texts), strict=True)]


def text_groups(texts: list[str]) -> NDArray[np.int64]:
    """(n,) int64: one number a distinct text, 0 for the empty one."""
    # No array of strings: NumPy gives each the width of the longest.
    numbers = {text: number for number, text in enumerate(sorted({*texts} - {""}), 1)}
    return np.array([numbers.get(text, 0) for text in texts], np.int64)

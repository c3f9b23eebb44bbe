"""What the audit knows of text: the encoder as it came, over vectors that a training kept. It encodes nothing, which would take minutes.

The model of a run is not asked: it has learned from the very windows that are looked at.
"""

import numpy as np

from recsys import text
from recsys.blocks import Catalogue
from recsys.caches import VectorCache
from recsys.errors import ModelError
from recsys.item_text import text_digests
from recsys.pipeline.job import Job
from recsys.pipeline.snapshot import TextSide
from recsys.pipeline.texts import side_of, unit


def kept_side(job: Job, catalogue: Catalogue) -> TextSide:
    """The untrained side where every text of the catalogue has a kept vector; else the silent one, on which text has no part."""
    config, nothing = job.config.text, TextSide.silent(len(catalogue))
    try:
        folder = text.find_encoder(config.encoder, job.base, hub=False)
        encoder = text.Encoder(folder, config.pooling, config.max_tokens, config.train_layers, config.token_budget, text.Way.of(config))
    except ModelError:
        return nothing
    values = text.encoder_texts(catalogue.items, config.template, encoder)
    known, vectors = VectorCache(job.home.caches / "vectors").load(encoder.digest())
    place = {digest: row for row, digest in enumerate(known)}
    digests = text_digests(values)
    if not all(digest in place for digest in digests):
        return nothing
    pooled = vectors[[place[digest] for digest in digests]]
    has_text = np.array([value != "" for value in values], bool)
    return side_of(
        text.InterestModel.untrained(encoder, pooled, has_text, config.history), pooled, has_text, catalogue, unit(pooled, has_text)
    )

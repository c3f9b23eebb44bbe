"""How much of the lists changes from one night to the next."""

import polars as pl


def changed_places(before: pl.DataFrame, now: pl.DataFrame, k: int) -> pl.DataFrame:
    """user_id, share (Float64): of the first `k` places, the share that went to items which were in none of them before.

    before and now: user_id, item_id, rank of RECOMMENDATIONS, in any order; only users with rows in both are in the answer. It is one less
    the overlap at k (Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings", section 3), the longer list counting
    where one is short. It counts in places of a page and is blind to their order; Jaccard's distance is 2c / (1 + c) of it.
    """
    one, two = (lists.filter(pl.col("rank") <= k).select("user_id", "item_id") for lists in (before, now))
    sizes = [lists.group_by("user_id").len() for lists in (one, two)]
    kept = two.join(one, on=["user_id", "item_id"], how="semi").group_by("user_id").agg(kept=pl.len())
    both = sizes[0].join(sizes[1], on="user_id", how="inner").join(kept, on="user_id", how="left")
    longer = pl.max_horizontal("len", "len_right")
    return both.select("user_id", share=1 - pl.col("kept").fill_null(0) / longer).sort("user_id")

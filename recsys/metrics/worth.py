"""What a list is worth in money: the same sums, with the price of what was found as its gain.

A relevant item of which nobody knows the price is worth 0: it neither helps nor hurts.
"""

import numpy as np

from recsys.metrics.arrays import Bools, Floats, dcg, ratio


def revenue(hits: Bools, worth: Floats) -> Floats:
    """(n,) revenue@k: sum of the worth of the hits, in the currency of the prices.

    Zero case: no hit 0. Example: hits at prices 10 and 4: 14. Source: a plain sum; Jannach and Adomavicius 2017 on why it is asked for.
    """
    return np.asarray(np.where(hits, worth, 0.0).sum(axis=1))


def revenue_ndcg(hits: Bools, worth: Floats, ideal: Floats) -> Floats:
    """(n,) revenue_ndcg@k: sum of worth / log2(rank + 1) over the hits, by the same sum over the ideal list.

    ideal (n, k): the k highest worths among what is relevant for the user, falling; 0 beyond the last.
    Zero case: no hit 0; nothing relevant has a price: NaN.
    Example, k = 2: prices 10 and 4 are relevant, 4 is listed first, 10 second: (4 + 10 * 0.6309) / (10 + 4 * 0.6309) = 0.8232.
    Source: Järvelin and Kekäläinen 2002, with the price as gain.
    """
    return ratio(dcg(np.where(hits, worth, 0.0)), dcg(ideal))


def revenue_recall(hits: Bools, worth: Floats, total: Floats) -> Floats:
    """(n,) revenue_recall@k: worth of the hits / total (n,), the worth of all that is relevant for the user.

    Zero case: no hit 0; nothing relevant has a price: NaN. Example: prices 10 and 4 are relevant, 4 is listed: 4 / 14 = 0.2857.
    Source: recall, with an item counting as much as it costs.
    """
    return ratio(revenue(hits, worth), total)

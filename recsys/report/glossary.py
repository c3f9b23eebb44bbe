"""What each metric says, in one sentence; docs/metrics.md has the formula, an example, and when it misleads."""

MEANINGS = {
    "ndcg@10": "How much of what the user went for stands in the list, counting more the higher it stands; 1 is the best possible list.",
    "recall@10": "The share of what the user went for that stands in the list.",
    "map@10": "How clean the list is down to each item the user went for: the precision at every hit, averaged.",
    "mrr@10": "How far down the first hit stands: 1 for the first place, 1/2 for the second, 0 for none.",
    "coverage@10": "The share of the catalogue that stands in at least one list.",
    "novelty@10": "How rare the listed items are among users, in bits: one more bit means had by half as many.",
    "precision@10": "The share of the places that hold something the user went for.",
    "hit_rate@10": "The share of users for whom at least one place is a hit.",
    "ndcg_graded@10": "ndcg in which a purchase is worth more than a click, by the labels and gains of the config.",
    "revenue_ndcg@10": "ndcg in which an item is worth its price, so that what earns much stands high.",
    "serendipity@10": "The share of the places that are hits which a list of the most popular items would not have given.",
    "ild@10": "How unlike each other the texts of a list's items are: 0 is one text many times.",
    "popularity@10": "How many users had a listed item before, on average.",
    "repeat_rate@10": "The share of the listed items that the user had before.",
    "gini@10": "How unevenly the places go to the items of the catalogue: 0 is evenly, near 1 a few items take all.",
    "gauc": "How often, among what one user was shown, what they went for scores above what they passed over; 0.5 is chance.",
}


def meanings() -> dict[str, str]:
    """Metric -> what it says in one plain sentence, the main ones first."""
    return dict(MEANINGS)

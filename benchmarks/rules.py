"""What rules cost in time: a chunk of users with scored candidates, listed without rules, under each, and under all of them.

    python -m benchmarks.rules [--users 512] [--candidates 300] [--items 4000]

CPU seconds of one thread. "counted" is what a night does: the lists under every rule alone, for the manifest, and under all. "read back"
holds the written part to the hard rules. A catalogue of more than 4,096 items among a chunk's candidates has no table of cosines.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import polars as pl

from recsys.blocks import History
from recsys.config_rules import Rules
from recsys.publish import Hard, Rest
from recsys.rules import Asked, Book, Ruled, Scored, Tally, recommend
from recsys.schema import EVENT_TYPES

AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
K, DIM, N_EVENTS = 20, 384, 100
RULES = Rules.model_validate(
    {
        "bought_days": 30,
        "bought_days_by_category": {"c1": 5, "c2": 90},
        "eligible": {"stock": "item.stock > 0", "age": "item.min_age IS NULL OR item.min_age <= user.age"},
        "min_score": -0.5,
        "caps": {"category": 5, "brand": 3},
        "boosts": {"ours": {"where": "item.brand = 'b1'", "by": 0.5}},
        "pins": {"spring": {"rank": 1, "item": "i00007"}, "fresh": {"rank": 4, "items": "item.stock > 8", "users": "user.country = 'DE'"}},
        "mmr_lambda": 0.7,
    }
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--items", type=int, default=4000)
    given = parser.parse_args()
    book, asked, events, users = world(given.users, given.candidates, given.items)
    frame = pl.DataFrame({"pair_likes_all": np.zeros(len(asked.user)), "pair_since_last": np.zeros(len(asked.user))})
    ranks = {"popularity": np.ones(len(asked.user), np.float32)}
    ids = book.items["item_id"].gather(asked.item.astype(np.uint32))
    scored = Scored(asked.history.user_ids, asked.user, ids, asked.score, np.zeros(len(asked.user), bool), ranks)

    def listed(ruled: Ruled | None) -> pl.DataFrame:
        return recommend(scored, frame, AS_OF, "run", K, "all", ruled.placed(K) if ruled else None)

    def alone(name: str) -> None:
        Ruled(book, asked).lists((name,), K)

    def whole_night() -> None:
        ruled = Ruled(book, asked)
        Tally().add(ruled, K)
        listed(ruled)

    told(given.users, "without rules", lambda: listed(None))
    for name in RULES.names:
        told(given.users, f"{name} alone", partial(alone, name))
    told(given.users, "all rules", lambda: listed(Ruled(book, asked)))
    told(given.users, "all rules, counted", whole_night)
    part = listed(Ruled(book, asked))
    rests = {"bought": Rest(("purchase",), RULES.bought_days, RULES.bought_days_by_category)}
    caps = {name: (name, most) for name, most in RULES.caps.items()}
    hard = Hard(AS_OF, book.items, users.lazy(), events.lazy(), RULES.eligible, caps, rests)
    assert not list(hard.breaches(part))
    told(given.users, "read back", lambda: list(hard.breaches(part)))


def told(n_users: int, name: str, work: Callable[[], object], times: int = 3) -> None:
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    print(f"{name:<24} {(time.process_time() - begun) / times / n_users * 1e6:>8,.0f} us a user", flush=True)


def world(n_users: int, n_candidates: int, n_items: int) -> tuple[Book, Asked, pl.DataFrame, pl.DataFrame]:
    """Random items, users, events and scores."""
    rng = np.random.default_rng(7)
    items = pl.DataFrame(
        {
            "item_id": [f"i{n:05}" for n in range(n_items)],
            "category": [f"c{n % 12}" for n in range(n_items)],
            "brand": [f"b{n % 60}" if n % 7 else None for n in range(n_items)],
            "stock": rng.integers(0, 10, n_items),
            "min_age": [18 if n % 20 == 0 else None for n in range(n_items)],
        }
    )
    ids = pl.Series("user_id", [f"u{n:05}" for n in range(n_users)])
    users = pl.DataFrame({"user_id": ids, "age": rng.integers(10, 90, n_users), "country": rng.choice(["DE", "FR"], n_users)})
    vectors = rng.normal(size=(n_items, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    days = -np.sort(-rng.uniform(0.1, 300, (n_users, N_EVENTS)).astype(np.float32), axis=1)
    item = rng.integers(0, n_items, (n_users, N_EVENTS)).astype(np.int32)
    kind = np.full(item.size, EVENT_TYPES.index("purchase"), np.int8)
    history = History(ids, AS_OF, np.arange(n_users + 1) * N_EVENTS, item.ravel(), kind, days.ravel(), np.ones(item.size, np.float32))
    events = pl.DataFrame(
        {
            "user_id": ids.gather(np.repeat(np.arange(n_users), N_EVENTS)),
            "item_id": items["item_id"].gather(item.ravel().astype(np.uint32)),
            "event_type": ["purchase"] * item.size,
            "event_time": [AS_OF - timedelta(days=float(age)) for age in days.ravel()],
        }
    )
    candidates = np.stack([np.sort(rng.choice(n_items, n_candidates, replace=False)) for _ in range(n_users)]).astype(np.int32)
    user = np.repeat(np.arange(n_users, dtype=np.int32), n_candidates)
    asked = Asked(history, users, user, candidates.ravel(), rng.normal(size=len(user)), False)
    return Book.of(RULES, items, users.head(0), np.ones(n_items, bool), vectors), asked, events, users


if __name__ == "__main__":
    main()

"""A shop to try everything on: believable, seeded, small, and with a truth that training never reads."""

from recsys.demo.oracle import oracle_share, true_interest
from recsys.demo.shop import write_shop

__all__ = ["oracle_share", "true_interest", "write_shop"]

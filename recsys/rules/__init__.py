"""The rules of the shop: scored candidates to recommendations, and what each rule did to them."""

from recsys.rules.book import Book
from recsys.rules.lists import BECAUSE, PINNED, REASONS, Scored, because, recommend
from recsys.rules.ruled import Asked, Placed, Ruled
from recsys.rules.tally import Tally

__all__ = ["BECAUSE", "PINNED", "REASONS", "Asked", "Book", "Placed", "Ruled", "Scored", "Tally", "because", "recommend"]

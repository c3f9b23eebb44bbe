"""What each rule did to a night: every rule alone, and all together, against the lists that there would be without any."""

from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.blocks import Index
from recsys.rules.fill import ranks
from recsys.rules.ruled import Ruled


@dataclass
class Change:
    """Against the lists without rules: `removed` rows that are gone, `moved` rows at another place, `users` whose list is another,
    `short` users whose list is shorter. missed: users for whom a pin is and, under all rules, is not placed.
    """

    removed: int = 0
    moved: int = 0
    users: int = 0
    short: int = 0
    missed: int = 0


@dataclass
class Tally:
    """Counts of a night, block by block: by rule, under the rule alone, and `together`; of `n_users`, how many have `none` listed, and how
    many of those would have a list but for the least chances (`unlikely`).
    """

    by_rule: dict[str, Change] = field(default_factory=dict)
    together: Change = field(default_factory=Change)
    n_users: int = 0
    none: int = 0
    unlikely: int = 0

    def add(self, ruled: Ruled, k: int) -> None:
        """Count a block, in lists of k places."""
        plain = ranks(ruled.lists((), k)[0], ruled.item.shape[1])
        names = ruled.book.rules.names
        for name in names:
            _count(self.by_rule.setdefault(name, Change()), plain, ranks(ruled.lists((name,), k)[0], plain.shape[1]))
        listed, pins = ruled.lists(names, k)
        final = ranks(listed, plain.shape[1])
        _count(self.together, plain, final)
        for name, cells in pins.items():
            missed = int((ruled.meant(name) & (cells < 0)).sum())
            self.by_rule[f"pins.{name}"].missed += missed
            self.together.missed += missed
        self.n_users += len(final)
        self.none += int((~final.any(axis=1)).sum())
        self.unlikely += int(ruled.unlikely(k).sum()) if ruled.book.rules.least_chances else 0

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def _count(change: Change, plain: Index, found: Index) -> None:
    """Two sets of lists as ranks (U, W), 0 for what is not listed."""
    change.removed += int(((plain > 0) & (found == 0)).sum())
    change.moved += int(((plain > 0) & (found > 0) & (plain != found)).sum())
    change.users += int((plain != found).any(axis=1).sum())
    change.short += int(((found > 0).sum(axis=1) < (plain > 0).sum(axis=1)).sum())

"""A mean is made of its parts: what changed within them, and what changed because there is more of one and less of another.

Simpson's trap: treatment A may be better in every part and worse on the whole, where it is given to other patients than B. Between two
windows the mix of users differs; within one window two systems answer for the same users, and the mean can only hide which part it is of.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recsys.evaluate.intervals import TIE, Paired
from recsys.evaluate.slices import MAIN, Slice

TrapKind = Literal["against most", "carried by one"]


@dataclass(frozen=True)
class Part:
    """A part of a whole: its share of it, and its mean. Share x mean, added up, is the mean of the whole."""

    share: float
    mean: float


@dataclass(frozen=True)
class PartChange:
    """What a part brings to the change of the whole mean: by its own mean (`within`), and by its share (`mix`)."""

    within: float
    mix: float
    share: float

    @property
    def whole(self) -> float:
        """Both together."""
        return self.within + self.mix


@dataclass(frozen=True)
class Change:
    """The change of a mean, `within` its parts and of their `mix`; `parts` in the order given. total = within + mix, exactly."""

    parts: dict[str, PartChange]

    @property
    def within(self) -> float:
        """What it would be, had no share changed."""
        return sum(part.within for part in self.parts.values())

    @property
    def mix(self) -> float:
        """What it would be, had no part's mean changed."""
        return sum(part.mix for part in self.parts.values())

    @property
    def total(self) -> float:
        """After minus before."""
        return self.within + self.mix


@dataclass(frozen=True)
class Trap:
    """Why the change of a mean must not be read alone.

    against most      more than half of the parts that changed did so the other way: `n_against` of `n_changed`
    carried by one    without `part`, which has less than half of the whole, nothing would be left of it
    `part` is in both cases the one that brings most of the change.
    """

    kind: TrapKind
    part: str
    n_against: int
    n_changed: int


def mean_change(before: Mapping[str, Part], after: Mapping[str, Part]) -> Change:
    """The mean after minus the mean before, by part: within = mean share x difference of means, mix = mean of means x difference of shares.

    A part that is on one side alone has no mean on the other: all it brings is mix. Source: Kitagawa 1955.
    Example (kidney stones, B before, A after): small .771 x .867 + large .229 x .688 = .826 to .249 x .931 + .751 x .730 = .780;
    within +.054, mix -.099, total -.046.
    """
    nothing = Part(0.0, 0.0)
    names = dict.fromkeys([*before, *after])
    return Change({name: _part_change(before.get(name, nothing), after.get(name, nothing)) for name in names})


def _part_change(before: Part, after: Part) -> PartChange:
    share = (before.share + after.share) / 2
    old = before.mean if before.share else after.mean
    new = after.mean if after.share else before.mean
    return PartChange(share * (new - old), (old + new) / 2 * (after.share - before.share), share)


def trap_of(found: Change, silent: Collection[str] = ()) -> Trap | None:
    """The trap that a change of a mean is, if any. `silent` parts, and those whose mean did not change, are not counted for or against."""
    if abs(found.total) <= TIE or len(found.parts) < 2:
        return None
    way = 1 if found.total > 0 else -1
    moved = [part.within * way for name, part in found.parts.items() if abs(part.within) > TIE and name not in silent]
    against = sum(one < 0 for one in moved)
    name, most = max(found.parts.items(), key=lambda part: part[1].whole * way)
    if 2 * against > len(moved):
        return Trap("against most", name, against, len(moved))
    is_carried = most.share < 0.5 and (found.total - most.whole) * way <= TIE
    return Trap("carried by one", name, against, len(moved)) if is_carried else None


def traps_of(paired: Sequence[Paired], slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """The traps in every decided difference in ndcg@10, by slice, ready for JSON: slice, share_of, a, b, difference, the entries of Trap,
    and of its part the share and what it `brings` to the difference. Small slices have no say.
    """
    by_name: dict[str, list[Slice]] = {}
    for one in slices:
        by_name.setdefault(one.slice, []).append(one)
    decided = [pair for pair in paired if pair.metric == MAIN and (pair.low > 0 or pair.high < 0)]
    found = [(pair, parts, _trap(pair, parts)) for pair in decided for parts in by_name.values()]
    return [_told(pair, parts, trap) for pair, parts, trap in found if trap]


def _trap(pair: Paired, parts: list[Slice]) -> Trap | None:
    before, after = ({one.value: Part(one.share, one.parts[system] / one.share) for one in parts} for system in (pair.b, pair.a))
    return trap_of(mean_change(before, after), [one.value for one in parts if one.is_small])


def _told(pair: Paired, parts: list[Slice], trap: Trap) -> dict[str, Any]:
    part = next(one for one in parts if one.value == trap.part)
    where = {"slice": part.slice, "share_of": part.share_of, "a": pair.a, "b": pair.b, "difference": pair.difference}
    return where | asdict(trap) | {"share": part.share, "brings": part.parts[pair.a] - part.parts[pair.b]}

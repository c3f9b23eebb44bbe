"""What a mean hides: Simpson's classic numbers, a change taken apart exactly, and the traps that a verdict warns of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import report
from recsys.evaluate import Paired, Part, Slice, mean_change, trap_of, traps_of

KIDNEY = {"A": {"small": (81, 87), "large": (192, 263)}, "B": {"small": (234, 270), "large": (55, 80)}}
"""Charig et al. 1986: treatments that succeeded, of how many, by the size of the stones."""

BERKELEY = {
    "men": {"A": (512, 825), "B": (353, 560), "C": (120, 325), "D": (138, 417), "E": (53, 191), "F": (22, 373)},
    "women": {"A": (89, 108), "B": (17, 25), "C": (202, 593), "D": (131, 375), "E": (94, 393), "F": (24, 341)},
}
"""Bickel et al. 1975, the six largest departments: admitted, of how many."""


def parts_of(counts: dict[str, tuple[int, int]]) -> dict[str, Part]:
    n = sum(of for _, of in counts.values())
    return {name: Part(of / n, good / of) for name, (good, of) in counts.items()}


def test_the_better_treatment_of_kidney_stones_looks_worse_on_the_whole() -> None:
    found = mean_change(parts_of(KIDNEY["B"]), parts_of(KIDNEY["A"]))
    assert found.total == pytest.approx(273 / 350 - 289 / 350)
    assert all(part.within > 0 for part in found.parts.values())  # A is better of small stones, and of large ones
    assert (found.within, found.mix) == pytest.approx((0.0537, -0.0994), abs=5e-5)
    trap = trap_of(found)
    assert trap is not None
    assert (trap.kind, trap.part, trap.n_against, trap.n_changed) == ("against most", "small", 2, 2)


def test_women_are_admitted_less_at_berkeley_and_more_in_most_departments() -> None:
    found = mean_change(parts_of(BERKELEY["men"]), parts_of(BERKELEY["women"]))
    assert found.total == pytest.approx(557 / 1835 - 1198 / 2691)
    assert sum(part.within > 0 for part in found.parts.values()) == 4
    assert found.within > 0 > found.mix
    trap = trap_of(found)
    assert trap is not None
    assert (trap.kind, trap.n_against, trap.n_changed) == ("against most", 4, 6)


MIXES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 50), st.floats(0, 1)), min_size=1)


def mix_of(drawn: dict[str, tuple[int, float]]) -> dict[str, Part]:
    n = sum(weight for weight, _ in drawn.values())
    return {name: Part(weight / n, mean) for name, (weight, mean) in drawn.items()}


@given(MIXES, MIXES)
def test_a_change_is_exactly_what_its_parts_and_their_mix_bring(before: Any, after: Any) -> None:
    one, other = mix_of(before), mix_of(after)
    found = mean_change(one, other)
    means = [sum(part.share * part.mean for part in mix.values()) for mix in (one, other)]
    assert found.total == pytest.approx(means[1] - means[0], abs=1e-12)
    assert mean_change(other, one).within == pytest.approx(-found.within, abs=1e-12)


def test_the_same_mix_changes_within_alone_and_the_same_means_by_mix_alone() -> None:
    before = {"a": Part(0.25, 0.2), "b": Part(0.75, 0.6)}
    assert mean_change(before, {"a": Part(0.25, 0.4), "b": Part(0.75, 0.6)}).mix == 0
    moved = mean_change(before, {"a": Part(0.5, 0.2), "b": Part(0.5, 0.6)})
    assert (moved.within, moved.mix) == pytest.approx((0, -0.1))


def test_a_part_that_is_new_brings_its_mix_alone() -> None:
    found = mean_change({"a": Part(1.0, 0.4)}, {"a": Part(0.5, 0.4), "b": Part(0.5, 0.2)})
    assert (found.within, found.mix) == pytest.approx((0, -0.1))


def test_a_small_part_that_brings_it_all_carries_the_mean_and_a_large_one_does_not() -> None:
    before = {"toys": Part(0.1, 0.2), "rest": Part(0.9, 0.5)}
    trap = trap_of(mean_change(before, {"toys": Part(0.1, 0.5), "rest": Part(0.9, 0.5)}))
    assert trap is not None
    assert (trap.kind, trap.part) == ("carried by one", "toys")
    assert trap_of(mean_change(before, {"toys": Part(0.1, 0.2), "rest": Part(0.9, 0.6)})) is None
    assert trap_of(mean_change(before, {"toys": Part(0.1, 0.3), "rest": Part(0.9, 0.6)})) is None
    assert trap_of(mean_change(before, before)) is None
    assert trap_of(mean_change({}, {})) is None


def test_a_fall_that_one_part_carries_is_as_much_a_trap_as_a_gain() -> None:
    trap = trap_of(mean_change({"x": Part(0.2, 0.5), "y": Part(0.8, 0.5)}, {"x": Part(0.2, 0.1), "y": Part(0.8, 0.55)}))
    assert trap is not None
    assert (trap.kind, trap.part, trap.n_against) == ("carried by one", "x", 1)


def part(name: str, value: str, share: float, ours: float, theirs: float, is_small: bool = False) -> Slice:
    """What the ranker and the other bring to the whole there."""
    return Slice(name, value, 5 if is_small else 100, {}, [], share, "relevant items", {"ranker": ours, "other": theirs}, is_small)


def pair(difference: float, low: float, high: float, metric: str = "ndcg@10") -> Paired:
    return Paired("ranker", "other", metric, difference, low, high, 10, 0, 5)


AGAINST = [
    part("item_category", "Toys", 0.2, 0.20, 0.05),
    part("item_category", "Tea", 0.4, 0.10, 0.13),
    part("item_category", "Mugs", 0.4, 0.10, 0.14),
]


def test_a_verdict_warns_where_most_slices_go_the_other_way() -> None:
    (found,) = traps_of([pair(0.08, 0.02, 0.14)], AGAINST)
    assert found == {
        "slice": "item_category",
        "share_of": "relevant items",
        "a": "ranker",
        "b": "other",
        "difference": 0.08,
        "kind": "against most",
        "part": "Toys",
        "n_against": 2,
        "n_changed": 3,
        "share": 0.2,
        "brings": pytest.approx(0.15),
    }


def test_a_verdict_does_not_warn_of_what_is_not_decided_nor_by_small_slices_nor_of_other_metrics() -> None:
    assert traps_of([pair(0.08, -0.02, 0.18), pair(0.08, 0.02, 0.14, "recall@10")], AGAINST) == []
    small = [AGAINST[0], *(part("item_category", one.value, 0.4, *one.parts.values(), is_small=True) for one in AGAINST[1:])]
    (found,) = traps_of([pair(0.08, 0.02, 0.14)], small)
    assert found["kind"] == "carried by one"  # they are counted in the mean, and not heard
    assert traps_of([pair(0.08, 0.02, 0.14)], [part("user_activity", "all", 1.0, 0.3, 0.22)]) == []


def test_the_report_says_a_trap_in_one_sentence() -> None:
    figures = {name: {"ndcg@10": {"value": value}} for name, value in (("ranker", 0.4), ("other", 0.32))}
    found = {"systems": figures, "slices": [], "traps": traps_of([pair(0.08, 0.02, 0.14)], AGAINST)}
    assert report.slice_notes({"tasks": {"all": found}}, "all") == [
        "Mix: ranker minus other is +0.0800 over all, but 2 of 3 values of item_category go the other way: item_category 'Toys' "
        "(20.0% of the relevant items) brings +0.1500."
    ]
    carried = traps_of([pair(0.08, 0.02, 0.14)], [AGAINST[0], part("item_category", "Tea", 0.8, 0.2, 0.27)])
    told = report.slice_notes({"tasks": {"all": found | {"traps": carried}}}, "all")[0]
    assert "without one part nothing of it is left: item_category 'Toys'" in told
    assert report.slice_notes({"tasks": {"all": {"systems": figures, "slices": []}}}, "all") == []  # a run of an earlier version

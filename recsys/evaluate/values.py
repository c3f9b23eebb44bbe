"""A column of the shop as a slice: numbers cut into quarters, text by its largest values, and what is unknown as a value of its own."""

import polars as pl
from polars.datatypes import DataTypeClass

from recsys.errors import SourceError

UNKNOWN, OTHERS = "(unknown)", "(all others)"
LARGEST = 10
"""Values of text that are told one by one: more rows than a person reads, and most of them small."""

TEXTS = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)


def refuse_unsliceable(dtype: pl.DataType | DataTypeClass, place: str) -> None:
    """Raises SourceError, naming the place in the config, where a column is neither numbers nor text: a list, a date, bytes."""
    if not dtype.is_numeric() and dtype not in TEXTS:
        raise SourceError(
            f"evaluate.slices: {place} is {dtype}, and a slice is cut from numbers, text or yes and no. "
            "Declare a column made of it (the year of a date, the first of a list), or name another one."
        )


def as_slice(values: pl.Series, counts: pl.Series, place: str) -> pl.Series:
    """The value of the slice (Enum, in the order in which values are told) of each row: `by_quarter` of numbers, else `by_largest`.

    Raises SourceError as `refuse_unsliceable`.
    """
    refuse_unsliceable(values.dtype, place)
    return by_quarter(values) if values.dtype.is_numeric() else by_largest(values.cast(pl.String), counts)


def by_quarter(values: pl.Series) -> pl.Series:
    """Numbers by the quartiles of those that are known; NaN and null are UNKNOWN. Equal numbers are in the same quarter.

    Example: 1, 2, 3, 4: one in each, `quarter 1: up to 1` to `quarter 4: above 3`; 5, 5, 5: all in `quarter 1: up to 5`.
    """
    numbers = values.cast(pl.Float64).fill_nan(None)
    edges = [numbers.quantile(share, "lower") for share in (0.25, 0.5, 0.75)]
    if edges[0] is None:
        return _enum(numbers.cast(pl.String), [])
    first, second, third = (_shown(float(edge)) for edge in edges if edge is not None)
    names = [f"quarter 1: up to {first}", f"quarter 2: to {second}", f"quarter 3: to {third}", f"quarter 4: above {third}"]
    above = sum(((numbers > edge).cast(pl.Int64) for edge in edges), pl.zeros(len(numbers), pl.Int64, eager=True))
    return _enum(above.replace_strict(range(4), names, return_dtype=pl.String), names)


def by_largest(values: pl.Series, counts: pl.Series) -> pl.Series:
    """Text by its LARGEST values, those of the highest sum of `counts` (ties: the first by name); the rest are OTHERS, null is UNKNOWN.

    values String; counts, a number a row: what a value's size is counted in.
    """
    sizes = pl.DataFrame({"value": values, "n": counts}).drop_nulls("value").group_by("value").agg(pl.col("n").sum())
    largest = sizes.sort(["n", "value"], descending=[True, False])["value"].head(LARGEST)
    kept = pl.DataFrame({"value": values}).select(
        pl.when(pl.col("value").is_null() | pl.col("value").is_in(largest.implode())).then("value").otherwise(pl.lit(OTHERS))
    )
    return _enum(kept["value"], largest.to_list())


def _enum(values: pl.Series, names: list[str]) -> pl.Series:
    return values.fill_null(UNKNOWN).cast(pl.Enum(list(dict.fromkeys([*names, OTHERS, UNKNOWN]))))


def _shown(edge: float) -> str:
    return f"{edge:.6g}" if abs(edge) < 1e6 else f"{edge:.0f}"

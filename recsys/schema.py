"""Every table of the house: columns, dtype, unit, meaning; `check()` stands at the doors."""

from dataclasses import dataclass

import polars as pl

from recsys.errors import TableError
from recsys.families import FAMILIES

TIME = pl.Datetime("us", "UTC")

EVENT_TYPES = ("impression", "click", "cart", "purchase", "return")
"""Our words for what can happen. All but the impression are interactions: events by the user's will."""

INTERACTIONS = EVENT_TYPES[1:]
LIKED = ("click", "cart", "purchase")
"""The interactions that speak for an item (a return speaks against it)."""

ITEM_TEXTS = ("title", "brand", "category", "category_path", "description", "attributes")
"""Columns of items that hold text; `text.template` joins some of them."""

OWN_TEXTS = ("title", "description", "attributes")
"""Those that speak of one item. A brand or a category alone would be one text for many, so it makes no item text."""

REASON_MAX_CHARACTERS = 200

CHANCES = ("click_probability", "purchase_probability")
"""Columns of RECOMMENDATIONS that hold a calibrated chance."""


@dataclass(frozen=True)
class Column:
    """One column: its name, polars dtype, meaning with unit, and whether it may be absent or null."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    required: bool = True
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A named table and its columns, in order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [c.name for c in self.columns]

    def dtype(self, name: str) -> pl.DataType | type[pl.DataType]:
        """The dtype of one column."""
        return next(c.dtype for c in self.columns if c.name == name)

    def empty(self) -> pl.DataFrame:
        """The table with no row."""
        return pl.DataFrame(schema={c.name: c.dtype for c in self.columns})


ITEMS = Table(
    "items",
    (
        Column("item_id", pl.String, "id of the item; unique"),
        Column("title", pl.String, "title; the empty string where the shop gives none"),
        Column("description", pl.String, "longer text; the empty string where there is none"),
        Column("category", pl.String, "one category", nullable=True),
        Column("brand", pl.String, "maker or label; read as text alone", required=False, nullable=True),
        Column(
            "category_path",
            pl.String,
            "the category with those above it (Home > Kitchen > Mugs); read as text alone",
            required=False,
            nullable=True,
        ),
        Column("attributes", pl.String, "size, material, colour ... in free words; read as text alone", required=False, nullable=True),
        Column("price", pl.Float32, "list price, in the shop's currency; null where it is only known from events", nullable=True),
        Column("available_from", TIME, "first moment it may be shown; null: always was", nullable=True),
        Column("available_until", TIME, "first moment it may no longer be shown; null: no end", nullable=True),
    ),
)

EVENTS = Table(
    "events",
    (
        Column("user_id", pl.String, "who"),
        Column("item_id", pl.String, "which item"),
        Column("event_type", pl.String, "one of " + ", ".join(EVENT_TYPES)),
        Column("event_time", TIME, "when, UTC"),
        Column(
            "value",
            pl.Float32,
            "worth of the event in the shop's currency; of a click, seconds of the view; null where not given",
            nullable=True,
        ),
        Column("price", pl.Float32, "price of one piece at that moment; null where not given", nullable=True),
        Column("request_id", pl.String, "the page or request the item was shown in", nullable=True),
        Column("position", pl.Int32, "place it was shown at, from 1", nullable=True),
        Column("propensity", pl.Float32, "probability that this item was shown at this position", nullable=True),
    ),
)

USERS = Table("users", (Column("user_id", pl.String, "who; unique"),))
"""Followed by the columns that the shop names for its rules, of whatever type."""

REJECTS = Table(
    "rejects",
    (
        Column("table", pl.String, "items, events or users"),
        Column("file", pl.String, "file the row came from"),
        Column("row", pl.UInt32, "row in that file, from 1, header not counted"),
        Column("reason", pl.String, "why it was not used"),
        Column("content", pl.String, "the row as read, as JSON"),
    ),
)

WINDOWS = Table(
    "windows",
    (
        Column("name", pl.String, "text, fold_1 ..., valid, test"),
        Column("start", TIME, "first moment, included; as_of of its candidates and features"),
        Column("end", TIME, "last moment, excluded"),
    ),
)

CANDIDATES = Table(
    "candidates",
    (
        Column("query_id", pl.UInt32, "one user at one as_of; rows of a query are contiguous"),
        Column("user_id", pl.String, "who"),
        Column("item_id", pl.String, "which item"),
        Column("as_of", TIME, "the moment whose knowledge is used"),
    ),
)
"""Followed by `<source>_score` and `<source>_rank` (Float32) of every source; the rank is null where it did not retrieve."""

RECOMMENDATIONS = Table(
    "recommendations",
    (
        Column("user_id", pl.String, "who"),
        Column("item_id", pl.String, "which item"),
        Column("rank", pl.Int32, "place in the user's list, from 1"),
        Column("score", pl.Float64, "the ranker's raw score; only its order within the user means something"),
        Column("as_of", TIME, "the moment whose knowledge was used"),
        Column("run_id", pl.String, "the run that ranked"),
        Column("reason", pl.String, "why, in a few words"),
        *(
            Column(
                name,
                pl.Float32,
                f"chance that the user {does} the item within so many days (docs/calibration.md) of being among the candidates of that "
                "night, as if nothing were shown differently; comparable across users; null where it is unknown",
                nullable=True,
            )
            for name, does in zip(CHANCES, ("clicks", "buys"), strict=True)
        ),
    ),
)

EXPLANATIONS = Table(
    "explanations",
    (
        Column("user_id", pl.String, "who"),
        Column("item_id", pl.String, "which item"),
        Column("rank", pl.Int32, "place in the user's list, from 1"),
        Column(
            "base", pl.Float32, "what the ranker gives before it knows anything; null beyond the first `rank.explain` places", nullable=True
        ),
        *(
            Column(name, pl.Float32, f"what it adds to the score: {meaning}; null where base is", nullable=True)
            for name, meaning in FAMILIES.items()
        ),
        Column("because_item_id", pl.String, "the liked item whose text is nearest to this one's; null where none is near", nullable=True),
        Column("because_similarity", pl.Float32, "cosine of the two texts' vectors; null where there is no such item", nullable=True),
        Column("sources", pl.List(pl.String), "the candidate sources that found it, the one that placed it highest first"),
        Column("rules", pl.List(pl.String), "the rules that placed it, lifted it or, each alone, would move it"),
        Column("plain_rank", pl.Int32, "its place without any rule; null where it would not be in the list", nullable=True),
    ),
)
"""A row for each of RECOMMENDATIONS, in the same order. Base and families sum to its score; null, too, for what no source found."""

MONITORING = Table(
    "monitoring",
    (
        Column("night_id", pl.String, "the night that was measured, published or refused"),
        Column("as_of", TIME, "the moment whose knowledge it used"),
        Column("measure", pl.String, "what was measured; docs/nights.md says how"),
        Column("key", pl.String, "of which feature, event type or surge; empty where of the whole night"),
        Column("value", pl.Float64, "the figure"),
        Column("status", pl.String, "PASS, WARN or FAIL, by the limits of [monitor]"),
    ),
)


def check(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return `frame` if it has the table's columns with their dtypes and no forbidden null.

    Raises TableError naming every fault at once; extra columns are allowed.
    """
    faults = [fault for column in table.columns for fault in _column_faults(frame, column)]
    if faults:
        raise TableError(f"{table.name}: " + "; ".join(faults) + ". The table was written by another version or by hand: make it again.")
    return frame


def _column_faults(frame: pl.DataFrame, column: Column) -> list[str]:
    if column.name not in frame.columns:
        return [f"column {column.name!r} is missing"] if column.required else []
    found = frame.schema[column.name]
    if found != column.dtype:
        return [f"column {column.name!r} is {found}, not {column.dtype}"]
    nulls = frame[column.name].null_count()
    if nulls and not column.nullable:
        return [f"column {column.name!r} has {nulls} nulls"]
    return []

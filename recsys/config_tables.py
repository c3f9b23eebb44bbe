"""Where the tables are, what their columns and words mean, what is unusual in them: the part of the config that a shop writes itself."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from recsys.errors import nearest
from recsys.schema import EVENT_TYPES, EVENTS, ITEMS

Share = Annotated[float, Field(gt=0, le=1)]
Sql = Annotated[str, Field(min_length=1)]

Checked = TypeVar("Checked")


def _ascending(limits: tuple[float, ...], place: ValidationInfo) -> tuple[float, ...]:
    is_fine = len(limits) <= 2 and all(limit >= 0 for limit in limits) and list(limits) == sorted(limits)
    faults = [f"monitor.{place.field_name}: one or two numbers of 0 or more, ascending, or [] for none; not {list(limits)}"]
    return no_faults(limits, [] if is_fine else faults)


Limits = Annotated[tuple[float, ...], AfterValidator(_ascending)]
"""Of a measure: WARN above the first, nothing published above the second."""


class Section(BaseModel):
    """A closed, frozen table of the config file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EventType(Section):
    """One of our event types: what the shop calls it, and what it is worth."""

    names: tuple[str, ...] = Field((), description="the shop's words for it; none: our own word")
    weight: float = Field(1.0, ge=0, le=1000, description="how much it counts in training the text model")
    label: int = Field(0, ge=0, le=30, description="graded relevance of an item it happened to; 0: none")
    short_below: float = Field(
        0.0, ge=0, le=86400, description="click only: its value is seconds, and a view of fewer speaks against the item; 0: none does"
    )


class Items(Section):
    """Where the items are."""

    path: str = Field(min_length=1, description="file, glob or folder: .csv .tsv .jsonl .parquet, also .gz and .zst")
    from_events: bool = Field(False, description="true: the rows are event lines; an item's text is its earliest usable spelling")
    columns: dict[str, Sql] = Field(description="our column = their column or an SQL expression over theirs")
    extra: dict[str, Sql] = Field(
        {}, description="a column for [rules] and evaluate.slices, under any other name = their column or an SQL expression over theirs"
    )
    exclude: dict[str, Sql] = Field({}, description="reason = SQL condition: rows that are no items")
    time_format: str = Field("iso", min_length=1, description="iso, unix_s, unix_ms, or a strptime format of available_*")
    time_zone: str = Field("UTC", min_length=1, description="zone of times written without one")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return no_faults(columns, column_faults("items", columns, ITEMS.names, ["item_id", "title"]))

    @field_validator("extra")
    @classmethod
    def _own_columns(cls, extra: dict[str, str]) -> dict[str, str]:
        return no_faults(
            extra, [f"items.extra.{name}: is a column of ours; declare it in items.columns" for name in extra if name in ITEMS.names]
        )

    @model_validator(mode="after")
    def _rows_of_items(self) -> "Items":
        # Of many lines of an item, nobody says which one tells what it is tonight.
        of_events = [f"items.extra.{name}: items from events take no extra columns" for name in self.extra if self.from_events]
        return no_faults(self, of_events)


class Events(Section):
    """Where the events are, and what they mean."""

    path: str = Field(min_length=1, description="file, glob or folder: .csv .tsv .jsonl .parquet, also .gz and .zst")
    columns: dict[str, Sql] = Field(description="our column = their column or an SQL expression over theirs")
    exclude: dict[str, Sql] = Field({}, description="reason = SQL condition: rows that are no events")
    time_format: str = Field("iso", min_length=1, description="iso, unix_s, unix_ms, or a strptime format of event_time")
    time_zone: str = Field("UTC", min_length=1, description="zone of times written without one")
    types: dict[str, EventType] = Field(
        {
            "impression": EventType(weight=0.0),
            "click": EventType(weight=0.2, label=1),
            "cart": EventType(weight=0.5, label=2),
            "purchase": EventType(weight=1.0, label=3),
            "return": EventType(weight=0.0),
        },
        description="per event type: names, weight, label",
    )

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return no_faults(columns, column_faults("events", columns, EVENTS.names, ["user_id", "item_id", "event_type", "event_time"]))

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: dict[str, EventType]) -> dict[str, EventType]:
        return no_faults(types, _type_faults(types))


class Users(Section):
    """Where the users are, if the shop knows more of them than what they did. [rules] and evaluate.slices alone read it."""

    path: str = Field("", description="file, glob or folder: .csv .tsv .jsonl .parquet, also .gz and .zst; empty: no such table")
    columns: dict[str, Sql] = Field(
        {}, description="user_id, and any other name for [rules] and evaluate.slices = their column or an SQL expression over theirs"
    )

    @model_validator(mode="after")
    def _whole(self) -> "Users":
        if not self.path:
            return no_faults(self, ["users.path: is missing; say where the table is"] if self.columns else [])
        return no_faults(self, [] if "user_id" in self.columns else ["users.columns.user_id: is missing; say which of your columns it is"])


class Check(Section):
    """What `recsys check` calls unusual (WARN) or no table to train on (FAIL)."""

    rejected_share: Share = Field(0.5, description="share of events rejected for a fault, or without an item, above which: FAIL")
    textless_share: float = Field(0.99, ge=0, lt=1, description="share of items without a text above which: FAIL")
    gap_days: int = Field(3, ge=0, le=3650, description="days in a row without an event above which: WARN")
    late_days: int = Field(
        0, ge=0, le=3650, description="whole days since the last event from which: FAIL; 0: not asked (data of the past)"
    )
    volume_low: float = Field(0.5, ge=0, le=1, description="of a type's usual events on a weekday; the last whole day below it: WARN")
    volume_high: float = Field(3.0, ge=1, le=10**6, description="the same, above it: WARN")
    volume_fail: float = Field(0.1, ge=0, le=1, description="the same, below it: FAIL")
    dominant_share: Share = Field(0.05, description="share of all events that one user holds above which, and above the next: WARN")
    dominant_events: int = Field(10_000, ge=1, le=10**9, description="events of one user: see the one before")
    day_events: int = Field(2000, ge=1, le=10**9, description="things that one user does in one day above which: WARN (a robot)")
    one_event_share: Share = Field(0.8, description="share of users with a single act above which: WARN")


class Nightly(Section):
    """What `recsys nightly` does beside ranking."""

    train_every_days: int = Field(
        7, ge=1, le=3650, description="days of events after which the current run is too old and a new one is trained"
    )


class Monitor(Section):
    """What is unusual from one night to the next."""

    churn: Limits = Field(
        (0.6,),
        description="share of a list's places that went to other items: WARN above the first number, nothing published above a second",
    )
    coverage_fall: Limits = Field((0.3,), description="share of last night's coverage that is lost; as in churn")
    cold_change: Limits = Field((0.2,), description="by how much the share of places of items without an event changed; as in churn")
    score_drift: Limits = Field((0.25,), description="PSI of the lists' scores, same run; as in churn")
    feature_drift: Limits = Field((0.5,), description="PSI of a feature over all candidates; as in churn")
    vector_drift: Limits = Field((0.2,), description="share of items whose text vector changed, same run; as in churn")
    neighbour_drift: Limits = Field((0.8,), description="share of an item's ten nearest that are others now, another run; as in churn")
    surge: Limits = Field((3.0,), description="times the usual rate of returns or short views; as in churn")
    surge_events: int = Field(20, ge=1, le=10**9, description="fewest returns or short views of a week that can be a surge")
    prometheus_file: str = Field(
        "", pattern=r"^$|\.prom$", description="file that node_exporter's textfile collector reads, ending in .prom; empty: none"
    )


def no_faults(value: Checked, faults: list[str]) -> Checked:
    """The value itself. Raises ValueError with all faults, one a line."""
    if faults:
        raise ValueError("\n".join(faults))
    return value


def column_faults(section: str, given: dict[str, str], known: list[str], needed: list[str]) -> list[str]:
    """Columns that are none of ours, and ours that are needed and missing."""
    unknown = [f"{section}.columns.{name}: no such column of ours{nearest(name, known)}" for name in given if name not in known]
    return unknown + [f"{section}.columns.{name}: is missing; say which of your columns it is" for name in needed if name not in given]


def _type_faults(types: dict[str, EventType]) -> list[str]:
    faults = [f"events.types.{name}: not an event type{nearest(name, EVENT_TYPES)}" for name in types if name not in EVENT_TYPES]
    owner: dict[str, str] = {}
    for name, event_type in types.items():
        for word in event_type.names or (name,):
            if word in owner:
                faults.append(f"events.types.{name}.names: {word!r} already means {owner[word]}")
            owner[word] = name
        if event_type.short_below and name != "click":
            faults.append(f"events.types.{name}.short_below: only a click can be a short view; set events.types.click.short_below")
    return faults

"""Where the tables are, what their columns and words mean, what is unusual in them: the part of the config that a shop writes itself."""

from functools import partial
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from recsys.errors import nearest
from recsys.schema import EVENT_TYPES, EVENTS, ITEMS

Share = Annotated[float, Field(gt=0, le=1)]
Sql = Annotated[str, Field(min_length=1)]

Checked = TypeVar("Checked")


def _ascending(section: str, limits: tuple[float, ...], place: ValidationInfo) -> tuple[float, ...]:
    is_fine = len(limits) <= 2 and all(limit >= 0 for limit in limits) and list(limits) == sorted(limits)
    faults = [f"{section}.{place.field_name}: one or two numbers of 0 or more, ascending, or [] for none; not {list(limits)}"]
    return no_faults(limits, [] if is_fine else faults)


Limits = Annotated[tuple[float, ...], AfterValidator(partial(_ascending, "monitor"))]
"""Of a measure: WARN above the first, nothing published above the second."""

LeakLimits = Annotated[tuple[float, ...], AfterValidator(partial(_ascending, "check"))]
"""Of what `recsys check --leaks` finds: WARN above the first, FAIL above the second."""


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
    leak_users: int = Field(300, ge=1, le=10**6, description="--leaks: users of each window whose candidates and features are looked at")
    leak_auc: LeakLimits = Field(
        (0.85, 0.95),
        description="--leaks: AUC of one feature, or of one column of items, alone: WARN above the first number, FAIL above a second",
    )
    leak_copies: LeakLimits = Field(
        (0.2, 0.5),
        description="--leaks: share of the acts right before a window that come again in it, beyond what is usual; as in leak_auc",
    )
    leak_sessions: LeakLimits = Field(
        (0.1,),
        description="--leaks: share of a window's users who were at it half an hour before it began and half an hour after; as in leak_auc",
    )
    leak_early: LeakLimits = Field(
        (0.001, 0.05), description="--leaks: share of events on items that were not on sale at that moment; as in leak_auc"
    )
    leak_dates: LeakLimits = Field(
        (0.9,), description="--leaks: share of slow items whose available_* is the day of their first or last act; as in leak_auc"
    )
    leak_impressions: LeakLimits = Field(
        (0.5, 0.9), description="--leaks: share of impressions upon which the user acts on the item within a day; as in leak_auc"
    )


class Nightly(Section):
    """What `recsys nightly` does beside ranking."""

    train_every_days: int = Field(
        7, ge=1, le=3650, description="days of events after which the current run is too old and a new one is trained"
    )


class Promote(Section):
    """What a run has to show before it ranks in the place of another."""

    rule: Literal["not_worse", "better"] = Field(
        "not_worse", description="not_worse: surely no more than margin below the run that ranks; better: surely above it"
    )
    margin: float = Field(
        0.005, ge=0, le=1, description="ndcg@10 of project.task that may be lost; .005: what another seed moves a ranker by"
    )
    cold_margin: float = Field(
        0.01, ge=0, le=1, description="the same for items without an event, and for new ones: refused where surely more"
    )
    coverage_fall: float = Field(0.2, ge=0, le=1, description="share of the coverage that may be lost")
    popularity_times: float = Field(1.5, ge=1, le=1000, description="times as popular as before that listed items may be")
    minutes_times: float = Field(2.0, ge=1, le=1000, description="times as long as before that fitting and judging may take")
    memory_times: float = Field(1.5, ge=1, le=1000, description="times the peak memory of before that a training may need")


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

"""Every knob of the house, by stage, in pipeline order. Frozen and closed: an unknown key is an error that names the nearest one."""

import difflib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys.errors import ConfigError
from recsys.schema import EVENT_TYPES, EVENTS, ITEMS

FILE_NAME = "recsys.toml"

Task = Literal["all", "new"]
TASKS: tuple[str, ...] = get_args(Task)
Days = Annotated[int, Field(ge=1, le=3650)]
Share = Annotated[float, Field(gt=0, le=1)]
Sql = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A closed, frozen table of the config file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Project(Section):
    """What the project is called and where it keeps its things."""

    name: str = Field("shop", pattern=r"^[A-Za-z0-9_-]+$", description="name of the project and of its experiment")
    seed: int = Field(7, ge=0, le=2**31 - 1, description="seed of everything random")
    threads: int = Field(0, ge=0, le=1024, description="threads; 0: every core. The same number gives the same bytes")
    folder: str = Field("runs", min_length=1, description="folder of runs, caches and published nights")
    task: Task = Field("all", description="primary task: all (seen items count) or new (they are masked); also what rank lists")


class EventType(Section):
    """One of our event types: what the shop calls it, and what it is worth."""

    names: tuple[str, ...] = Field((), description="the shop's words for it; none: our own word")
    weight: float = Field(1.0, ge=0, le=1000, description="how much it counts in training the text model")
    label: int = Field(0, ge=0, le=30, description="graded relevance of an item it happened to; 0: none")


class Items(Section):
    """Where the items are."""

    path: str = Field(min_length=1, description="file, glob or folder: .csv .tsv .jsonl .parquet, also .gz and .zst")
    from_events: bool = Field(False, description="true: the rows are event lines; an item's text is its earliest usable spelling")
    columns: dict[str, Sql] = Field(description="our column = their column or an SQL expression over theirs")
    exclude: dict[str, Sql] = Field({}, description="reason = SQL condition: rows that are no items")
    time_format: str = Field("iso", min_length=1, description="iso, unix_s, unix_ms, or a strptime format of available_*")
    time_zone: str = Field("UTC", min_length=1, description="zone of times written without one")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return _no_faults(columns, _column_faults("items", columns, ITEMS.names, ["item_id", "title"]))


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
        return _no_faults(columns, _column_faults("events", columns, EVENTS.names, ["user_id", "item_id", "event_type", "event_time"]))

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: dict[str, EventType]) -> dict[str, EventType]:
        return _no_faults(types, _type_faults(types))


class Time(Section):
    """The time ledger: lengths of the windows, counted back from the end of the data."""

    fold_days: Days = Field(14, description="days of one ranker fold")
    n_folds: int = Field(3, ge=1, le=52, description="ranker folds")
    valid_days: Days = Field(14, description="days of the valid window: early stopping")
    test_days: Days = Field(28, description="days of the test window: the verdict")
    gap_days: int = Field(0, ge=0, le=365, description="days left unused before the folds, the valid and the test window")


class Text(Section):
    """The two-tower interest model."""

    encoder: str = Field("sentence-transformers/all-MiniLM-L6-v2", min_length=1, description="Hugging Face name or a local folder")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token states become one vector")
    max_tokens: int = Field(64, ge=4, le=8192, description="tokens of an item text kept; the rest is cut")
    dim: int = Field(0, ge=0, le=4096, description="length of a vector; 0: the encoder's own, projection starts as identity")
    train_layers: int = Field(2, ge=0, le=100, description="last layers of the encoder that are fine-tuned; 0: none")
    warm_steps: int = Field(300, ge=0, le=10**6, description="steps of the history tower over frozen item vectors")
    steps: int = Field(60, ge=0, le=10**6, description="most steps of joint fine-tuning, tower and encoder")
    queries: int = Field(256, ge=2, le=65536, description="queries (a user's visit and the history before it) a step")
    positives: int = Field(2, ge=1, le=1000, description="most positives of a query used in a step")
    negatives: int = Field(256, ge=0, le=10**6, description="extra items drawn uniformly a step, beside the in-batch ones")
    history: int = Field(50, ge=1, le=10000, description="latest interactions of a user that are attended to")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="of the encoder")
    tower_learning_rate: float = Field(1e-3, gt=0, le=1, description="of the projection and the history tower")
    valid_days: Days = Field(14, description="days at the end of the text window held out for early stopping")
    patience: int = Field(3, ge=1, le=1000, description="checks without a gain before training stops")
    check_steps: int = Field(20, ge=1, le=10**6, description="joint steps between two checks; warm checks come every 100 steps")
    token_budget: int = Field(2048, ge=64, le=10**7, description="tokens of one forward pass of the encoder")
    scoring: Literal["float32", "int8"] = Field(
        "float32", description="numbers in which a fitted encoder counts; int8: quicker, a little less exact, needs recsys[onnx]"
    )
    states_mb: int = Field(1200, ge=0, le=10**6, description="MB for kept outputs of the layers that are not trained; 0: none")


class Candidates(Section):
    """The sources and how far each looks."""

    per_source: int = Field(100, ge=1, le=10000, description="most candidates of a source for a query")
    popularity_half_life_days: float = Field(14.0, gt=0, le=3650, description="days after which a like counts half in popularity")
    half_life_days: float = Field(
        30.0, gt=0, le=3650, description="days after which a like counts half in co-visitation and the collaborative model"
    )
    covisitation_days: float = Field(7.0, gt=0, le=365, description="two items of a user co-visit when at most so many days apart")
    neighbours: int = Field(100, ge=1, le=10000, description="most neighbours kept of an item")
    factors: int = Field(64, ge=1, le=2048, description="latent factors of the collaborative model")
    iterations: int = Field(15, ge=1, le=1000, description="iterations of alternating least squares")
    regularisation: float = Field(0.05, ge=0, le=1000, description="of the collaborative model")
    confidence: float = Field(10.0, gt=0, le=10**6, description="alpha of the collaborative model")


class Ranker(Section):
    """LightGBM LambdaMART."""

    trees: int = Field(1000, ge=1, le=100_000, description="most trees; early stopping chooses")
    learning_rate: float = Field(0.03, gt=0, le=1, description="shrinkage of a tree")
    leaves: int = Field(31, ge=2, le=131072, description="leaves of a tree")
    min_rows_leaf: int = Field(50, ge=1, le=10**9, description="fewest rows of a leaf")
    feature_share: Share = Field(0.7, description="share of the features a tree may use")
    early_stopping: int = Field(100, ge=1, le=100_000, description="trees without a gain on the valid window before stopping")
    label_gain: tuple[float, ...] = Field((), description="worth of each label from 0 up; none: the label itself (linear)")
    keep_unchosen: Share = Field(0.5, description="share of unchosen candidates kept in training folds, seeded")
    monotone: dict[str, Literal[-1, 1]] = Field({}, description="feature = 1 (never falls) or -1 (never rises)")


class Rank(Section):
    """Tonight's lists."""

    k: int = Field(20, ge=1, le=10000, description="places of a list")
    chunk_users: int = Field(512, ge=1, le=10**6, description="users ranked at once; bounds memory")


class Evaluate(Section):
    """The verdict."""

    relevant_from: int = Field(1, ge=1, le=30, description="lowest label that is relevant in binary metrics")
    bootstrap: int = Field(1000, ge=10, le=10**6, description="resamples of users for the 95 % intervals")


class Tracking(Section):
    """MLflow."""

    enabled: bool = Field(True, description="false: nothing is tracked")
    uri: str = Field("", description="tracking server; empty: an SQLite file in the project's folder")


class Config(Section):
    """The whole of recsys.toml, in pipeline order."""

    project: Project = Project()
    items: Items
    events: Events
    time: Time = Time()
    text: Text = Text()
    candidates: Candidates = Candidates()
    ranker: Ranker = Ranker()
    rank: Rank = Rank()
    evaluate: Evaluate = Evaluate()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _joins(self) -> "Config":
        faults = []
        labels = [t.label for t in self.events.types.values()]
        if max(labels, default=0) < self.evaluate.relevant_from:
            faults.append("evaluate.relevant_from: no event type has so high a label, nothing would be relevant")
        gain = self.ranker.label_gain
        if gain and len(gain) <= max(labels, default=0):
            faults.append(f"ranker.label_gain: {len(gain)} gains for labels 0 to {max(labels)}: give {max(labels) + 1}")
        return _no_faults(self, faults)

    @property
    def gains(self) -> tuple[float, ...]:
        """Worth of each label, from 0 up: `label_gain`, or linear."""
        top = max(t.label for t in self.events.types.values())
        return self.ranker.label_gain or tuple(float(label) for label in range(top + 1))

    def digest(self) -> str:
        """12 hex digits over the resolved config."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


Checked = TypeVar("Checked")


def _no_faults(value: Checked, faults: list[str]) -> Checked:
    if faults:
        raise ValueError("\n".join(faults))
    return value


def _column_faults(section: str, given: dict[str, str], known: list[str], needed: list[str]) -> list[str]:
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
    return faults


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """` (did you mean 'x'?)`, or the legal words when none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def parse(values: dict[str, Any], where: str) -> Config:
    """A Config out of nested dicts. Raises ConfigError listing every fault at once, each with its place."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = [line for fault in error.errors() for line in _fault_lines(dict(fault))]
        raise ConfigError(f"{where}: {len(faults)} fault{'s' * (len(faults) > 1)}\n" + "\n".join(f"  {line}" for line in faults)) from None


def _fault_lines(fault: dict[str, Any]) -> list[str]:
    place, kind = ".".join(str(part) for part in fault["loc"]), fault["type"]
    if kind == "extra_forbidden":
        return [f"{place}: no such key{nearest(str(fault['loc'][-1]), _keys_at(fault['loc'][:-1]))}"]
    if kind == "missing":
        return [f"{place}: is missing and has no default"]
    if kind == "value_error":
        return str(fault["ctx"]["error"]).split("\n")
    return [f"{place}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"]


def _keys_at(place: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in place:
        if part not in model.model_fields:
            model = EventType
            continue
        found = model.model_fields[part].annotation
        model = found if isinstance(found, type) and issubclass(found, BaseModel) else EventType
    return list(model.model_fields)


def load(path: Path) -> Config:
    """Read and check a recsys.toml. Raises ConfigError when it is absent, not TOML, or wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Name one with --config, or make a shop to look at with `recsys demo`.") from None
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: cannot be read: {fault}. Name a file that this user may read with --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}. Mend the line named.") from None
    return parse(values, str(path))


def find(start: Path) -> Path:
    """The recsys.toml in `start` or the nearest folder above it. Raises ConfigError when there is none."""
    for folder in [start, *start.parents]:
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(f"no {FILE_NAME} in {start} or above it. Name one with --config, or make a shop to look at with `recsys demo`.")


def describe() -> list[tuple[str, str, str, str]]:
    """Every field as (key, default, range, meaning), in pipeline order."""
    rows = []
    for section, field in Config.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, Section)
        rows += [(f"{section}.{name}", _default(f), _range(f), f.description or "") for name, f in model.model_fields.items()]
        if section == "events":
            rows += [(f"events.types.X.{n}", _default(f), _range(f), f.description or "") for n, f in EventType.model_fields.items()]
    return rows


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, dict) and value:
        return "see below"
    return json.dumps(value if not isinstance(value, tuple) else list(value))


def _range(field: Any) -> str:
    choices = get_args(field.annotation) if getattr(field.annotation, "__origin__", None) is Literal else ()
    if choices:
        return " or ".join(str(c) for c in choices)
    marks = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
    bounds = [(type(bound).__name__, bound) for bound in field.metadata]
    return ", ".join(f"{marks[name]} {getattr(bound, name.lower())}" for name, bound in bounds if name in marks)

"""Every knob of the house, by stage, in pipeline order. Frozen and closed: an unknown key is an error that names the nearest one."""

import hashlib
import json
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from recsys import space
from recsys.config_rules import Rules, known_columns, rule_faults, slice_faults
from recsys.config_tables import Check, Events, Items, Monitor, Nightly, Promote, Section, Share, Users, no_faults
from recsys.errors import nearest
from recsys.schema import ITEM_TEXTS, OWN_TEXTS

Task = Literal["all", "new"]
TASKS: tuple[str, ...] = get_args(Task)
Loss = Literal["softmax", "pointwise", "list"]
LOSSES: tuple[str, ...] = get_args(Loss)
Days = Annotated[int, Field(ge=1, le=3650)]

TEMPLATE = ("title", "description", "category")
"""What an item's text is made of unless the config says otherwise; a column that the shop does not give is left out."""


class Project(Section):
    """What the project is called and where it keeps its things."""

    name: str = Field("shop", pattern=r"^[A-Za-z0-9_-]+$", description="name of the project and of its experiment")
    seed: int = Field(7, ge=0, le=2**31 - 1, description="seed of everything random")
    threads: int = Field(0, ge=0, le=1024, description="threads; 0: every core. The same number gives the same bytes")
    folder: str = Field("runs", min_length=1, description="folder of runs, caches and published nights")
    keep_runs: int = Field(20, ge=0, le=10_000, description="runs kept, beside those in use: see below; 0: all")
    task: Task = Field("all", description="primary task: all (seen items count) or new (they are masked); also what rank lists")


class Time(Section):
    """The time ledger: lengths of the windows, counted back from the end of the data."""

    fold_days: Days = Field(14, description="days of one ranker fold")
    n_folds: int = Field(3, ge=1, le=52, description="ranker folds")
    valid_days: Days = Field(14, description="days of the valid window: it chooses the number of trees")
    test_days: Days = Field(28, description="days of the test window: the verdict")
    gap_days: int = Field(0, ge=0, le=365, description="days left unused before the folds, the valid and the test window")


class Text(Section):
    """The two-tower interest model."""

    encoder: str = Field("sentence-transformers/all-MiniLM-L6-v2", min_length=1, description="Hugging Face name or a local folder")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token states become one vector")
    template: tuple[str, ...] = Field(
        TEMPLATE, description="columns of items whose texts are joined, in this order; where the whole is too long the title goes first"
    )
    max_tokens: int = Field(64, ge=4, le=8192, description="tokens of an item text kept; the rest is cut")
    dim: int = Field(0, ge=0, le=4096, description="length of a vector; 0: the encoder's own, projection starts as identity")
    tune: Literal["full", "layers", "lora", "adalora", "prefix", "none"] = Field(
        "layers", description="what of the encoder is fine-tuned: see below; all but full, layers and none need `recsys[peft]`"
    )
    train_layers: int = Field(2, ge=1, le=100, description="last layers of the encoder that tune = layers trains")
    lora_rank: int = Field(8, ge=1, le=1024, description="rank of a matrix's change with tune = lora; mean rank with adalora")
    prefix_tokens: int = Field(8, ge=1, le=64, description="tokens that tune = prefix learns to put before a text")
    gradient_checkpointing: bool = Field(False, description="true: layers run again in the backward pass; less memory, more time")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="of matrix products; auto: bf16 on a GPU that has it, else fp32")
    warm_steps: int = Field(300, ge=0, le=10**6, description="steps of the history tower over frozen item vectors")
    steps: int = Field(60, ge=0, le=10**6, description="most steps of joint fine-tuning: pushes through the encoder")
    push_steps: int = Field(8, ge=1, le=1000, description="user-side steps whose gradient is collected for one push through the encoder")
    push_items: int = Field(1024, ge=1, le=10**7, description="items of a push, in turn; an item's vector is that of its last turn")
    blend_steps: int = Field(600, ge=0, le=10**6, description="most steps of the blend of text and item ids; 0: no blend")
    refresh_steps: int = Field(
        100, ge=0, le=10**6, description="steps of the towers at each later window, on all that was known by then; 0: none"
    )
    id_dropout: float = Field(0.5, ge=0, le=1, description="chance that an item of a blend step is known by its text alone")
    queries: int = Field(256, ge=2, le=65536, description="queries (a user's visit and the history before it) a step")
    positives: int = Field(2, ge=1, le=1000, description="most positives of a query used in a step")
    negatives: int = Field(
        16384,
        ge=0,
        le=10**6,
        description="items drawn uniformly a step, beside the in-batch ones; the whole catalogue where it has no more",
    )
    history: int = Field(50, ge=1, le=10000, description="latest interactions of a user that are attended to; older ones as a summary")
    interests: int = Field(1, ge=1, le=16, description="vectors of a user; an item is scored by the nearest")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="of the encoder")
    embedding_learning_rate: float = Field(1e-3, gt=0, le=1, description="of the encoder's word embeddings, where tune = full trains them")
    tower_learning_rate: float = Field(3e-3, gt=0, le=1, description="of the projection and the history tower")
    valid_days: Days = Field(14, description="days at the end of the text window held out for early stopping")
    patience: int = Field(3, ge=1, le=1000, description="checks without a gain before training stops")
    check_steps: int = Field(20, ge=1, le=10**6, description="joint steps between two checks; 50 in the other phases")
    token_budget: int = Field(2048, ge=64, le=10**7, description="tokens of one forward pass of the encoder")
    scoring: Literal["float32", "int8"] = Field(
        "float32", description="numbers in which a fitted encoder counts; int8: quicker, a little less exact, needs recsys[onnx]"
    )
    distil_epochs: int = Field(
        0, ge=0, le=1000, description="passes over the texts that teach half the layers to give the tuned encoder's vectors; 0: none"
    )
    states_mb: int = Field(1200, ge=0, le=10**6, description="MB for kept outputs of the layers that are not trained; 0: none")
    loss: Loss = Field(
        "softmax", description="over the catalogue, over what was shown item by item, or within the lists shown; docs/losses.md"
    )
    hard_negatives: int = Field(0, ge=0, le=1000, description="hard negatives mined for a query of a joint step (softmax); 0: none")
    margin: float = Field(0.05, ge=0, le=2, description="how far below its positive's cosine a mined negative must lie")
    half_life_days: float = Field(60.0, ge=0, le=3650, description="days after which an event counts half in the loss; 0: no decay")
    exposure: float = Field(
        0.0, ge=0, le=10**6, description="inverse propensity weights (pointwise, list), clipped at so many times their mean; 0: none"
    )
    follow_hours: float = Field(
        24.0, ge=0, le=720, description="hours after it was shown in which an act without a request counts for an item"
    )

    @field_validator("template")
    @classmethod
    def _known_texts(cls, template: tuple[str, ...]) -> tuple[str, ...]:
        return no_faults(template, _template_faults(template))


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

    trees: int = Field(1000, ge=1, le=100_000, description="most trees; how many, the valid window chooses")
    learning_rate: float = Field(0.03, gt=0, le=1, description="shrinkage of a tree")
    leaves: int = Field(31, ge=2, le=131072, description="leaves of a tree")
    min_rows_leaf: int = Field(50, ge=1, le=10**9, description="fewest rows of a leaf")
    feature_share: Share = Field(0.7, description="share of the features a tree may use")
    early_stopping: int = Field(100, ge=1, le=100_000, description="trees without a gain on the windows held out before stopping")
    label_gain: tuple[float, ...] = Field((), description="worth of each label from 0 up; none: the label itself (linear)")
    keep_unchosen: Share = Field(0.5, description="share of unchosen candidates kept in training folds, seeded")
    pages: bool = Field(False, description="also learn from what was shown and chosen or ignored on a page, by place; needs impressions")
    monotone: dict[str, Literal[-1, 1]] = Field({}, description="feature = 1 (never falls) or -1 (never rises)")


class Rank(Section):
    """Tonight's lists."""

    k: int = Field(20, ge=1, le=10000, description="places of a list")
    explain: int = Field(
        20, ge=0, le=10000, description="places of a list whose explanation says what each family of features adds; 0: no explanations"
    )
    chunk_users: int = Field(512, ge=1, le=10**6, description="users ranked at once; bounds memory")


class Publish(Section):
    """Where a night is served from, beside its folder, and what it is held to."""

    keep_nights: int = Field(30, ge=0, le=10_000, description="nights kept in every place, the served one included; 0: all")
    fewest_share: Share = Field(0.99, description="share of the users asked for that must have a list, or nothing is published")
    postgres_env: str = Field("", description="environment variable with the address of a PostgreSQL; empty: none. Needs recsys[postgres]")
    postgres_schema: str = Field("recsys", pattern=r"^[a-z_][a-z0-9_]*$", description="schema there, of this project alone")
    redis_env: str = Field("", description="environment variable with the address of a Redis; empty: none. Needs recsys[redis]")
    redis_prefix: str = Field("recsys", min_length=1, description="first part of every key there, of this project alone")


class Evaluate(Section):
    """The verdict."""

    relevant_from: int = Field(1, ge=1, le=30, description="lowest label that is relevant in binary metrics")
    bootstrap: int = Field(1000, ge=10, le=10**6, description="resamples of users for the 95 % intervals")
    slices: tuple[str, ...] = Field(
        (),
        description="further columns by whose values the verdict is cut, as [rules] names them: item.brand, user.country; docs/slices.md",
    )


class Tracking(Section):
    """MLflow."""

    enabled: bool = Field(True, description="false: nothing is tracked")
    uri: str = Field("", description="tracking server; empty: an SQLite file in the project's folder")


class Search(Section):
    """Trials of settings: what `recsys search` tries."""

    trials: int = Field(20, ge=1, le=10_000, description="trials of the text model, and as many of the ranker")
    minutes: float = Field(0, ge=0, le=10**6, description="most minutes, half of them for the text model; 0: no limit")
    text: space.Space = Field(
        {"learning_rate": (1e-5, 1e-3), "tower_learning_rate": (1e-4, 1e-2), "positives": (1, 8), "history": (10, 100)},
        description="setting of [text] = its range or its choices; {}: not searched",
    )
    ranker: space.Space = Field(
        {"learning_rate": (0.01, 0.2), "leaves": (7, 127), "min_rows_leaf": (10, 500), "feature_share": (0.3, 1.0)},
        description="setting of [ranker] = its range or its choices; {}: not searched",
    )

    @field_validator("text")
    @classmethod
    def _text_space(cls, given: space.Space) -> space.Space:
        # Other days would ask the trials another question. The others no trial looks at, or they cost time and memory alone.
        unseen = ("blend_steps", "id_dropout", "refresh_steps", "distil_epochs", "scoring")
        return space.checked("search.text", Text, given, ("valid_days", *unseen, "token_budget", "states_mb", "gradient_checkpointing"))

    @field_validator("ranker")
    @classmethod
    def _ranker_space(cls, given: space.Space) -> space.Space:
        # All trials are fitted on the same rows, and judged by the same gains.
        return space.checked("search.ranker", Ranker, given, ("keep_unchosen", "pages", "label_gain", "monotone"))


class Config(Section):
    """The whole of recsys.toml, in pipeline order."""

    project: Project = Project()
    items: Items
    events: Events
    users: Users = Users()
    check: Check = Check()
    time: Time = Time()
    text: Text = Text()
    candidates: Candidates = Candidates()
    ranker: Ranker = Ranker()
    rank: Rank = Rank()
    rules: Rules = Rules()
    publish: Publish = Publish()
    nightly: Nightly = Nightly()
    promote: Promote = Promote()
    monitor: Monitor = Monitor()
    evaluate: Evaluate = Evaluate()
    tracking: Tracking = Tracking()
    search: Search = Search()

    @model_validator(mode="after")
    def _joins(self) -> "Config":
        faults = []
        labels = [t.label for t in self.events.types.values()]
        if max(labels, default=0) < self.evaluate.relevant_from:
            faults.append("evaluate.relevant_from: no event type has so high a label, nothing would be relevant")
        gain = self.ranker.label_gain
        if gain and len(gain) <= max(labels, default=0):
            faults.append(f"ranker.label_gain: {len(gain)} gains for labels 0 to {max(labels)}: give {max(labels) + 1}")
        if self.text.tune == "prefix" and self.text.gradient_checkpointing:
            faults.append("text.gradient_checkpointing: a prefix cannot run again; set it to false, or text.tune to lora")
        if self.text.tune == "prefix" and self.text.scoring == "int8":
            faults.append("text.scoring: int8 takes no prefix; set it to float32, or text.tune to lora")
        if self.text.exposure and self.text.loss == "softmax":
            faults.append(
                "text.exposure: weighs what was shown, softmax learns from likes alone; set it to 0, or text.loss to pointwise or list"
            )
        if self.text.hard_negatives and self.text.loss != "softmax":
            faults.append("text.hard_negatives: only text.loss = softmax mines them; set it to 0")
        if self.text.template != TEMPLATE:
            absent = [name for name in self.text.template if name not in self.items.columns]
            faults += [f"text.template: {name!r} is not in items.columns; say there which of your columns it is" for name in absent]
        known = known_columns(self.items, self.events, self.users)
        faults += [*rule_faults(self.rules, known, self.rank.k), *slice_faults(self.evaluate.slices, known)]
        return no_faults(self, faults)

    @property
    def gains(self) -> tuple[float, ...]:
        """Worth of each label, from 0 up: `label_gain`, or linear."""
        top = max(t.label for t in self.events.types.values())
        return self.ranker.label_gain or tuple(float(label) for label in range(top + 1))

    def digest(self) -> str:
        """12 hex digits over the resolved config."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


def _template_faults(template: tuple[str, ...]) -> list[str]:
    faults = [f"text.template: {name!r} is no text of an item{nearest(name, ITEM_TEXTS)}" for name in template if name not in ITEM_TEXTS]
    faults += [f"text.template: {name!r} is there twice" for name in sorted(set(template)) if template.count(name) > 1]
    if not set(template) & set(OWN_TEXTS):
        faults.append(f"text.template: needs one of {', '.join(OWN_TEXTS)}; the rest is one text for many items")
    return faults

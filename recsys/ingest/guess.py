"""A look at the shop's own columns: which of them is which of ours, and what only a person can say. Nothing is read or written here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from recsys.config_tables import Events, EventType
from recsys.errors import SourceError
from recsys.ingest.checks import SPELLINGS
from recsys.ingest.columns import evaluate, to_utc
from recsys.ingest.names import CLICKS, NAMES, QUANTITIES, RATINGS, VIEWS, WORDS
from recsys.ingest.read import FILE, ROW

MOST_WORDS = 50
"""A column of more different words than that does not say what happened."""

CLOCKS = (" %H:%M:%S", " %H:%M", "")
TIME_FORMATS = tuple(
    date + clock for date in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d") for clock in CLOCKS
)
EPOCHS = {"unix_s": (1e8, 5e9), "unix_ms": (1e11, 5e12)}
"""Numbers that can be seconds or milliseconds since 1970: those of 1973 to 2128."""

READABLE = 0.99
"""Share of a column's values that a time format must read; the others are faults of single rows."""

LIKED_SHARE, SEEN_SHARE = 0.8, 0.6
"""Of the best rating: from here on somebody liked it; from here on it was neither here nor there; below, it speaks against the item."""

SLIPS = 0.1
"""Ids written in two cases are slips of the pen where they are few; where the case tells ids apart, next to none fall together."""

RULES = ("column", *(rule for _, rule in SPELLINGS.values()), "UPPER(column)")
"""Spellings of one id: as it stands, mended as a check would propose, in one case."""


@dataclass(frozen=True)
class Guess:
    """What stands to the right of a key of ours, and why."""

    expression: str
    why: str = ""


@dataclass(frozen=True)
class Guesses:
    """What was told of one table. `unknown` must be said by a person, with what there is to choose from; `doubts` should be looked at."""

    columns: dict[str, Guess]
    unknown: dict[str, str]
    time_format: str = "iso"
    types: dict[str, EventType] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def guess_events(raw: pl.DataFrame) -> Guesses:
    """Which column of the event rows (as read, n rows) is which of ours."""
    columns = {name: _id(raw, column) for name in ("user_id", "item_id") if (column := _named(raw, NAMES[name]))}
    when, time_format, doubts = _when(raw)
    what, types, more_doubts = _what(raw)
    columns |= {"event_time": Guess(when)} if when else {}
    columns |= {"event_type": what} if what else {}
    for name in ("price", "request_id", "position", "propensity"):
        if found := _named(raw, NAMES[name]):
            columns[name] = Guess(found)
    columns |= _value(raw)
    unknown = _unknown(raw, columns, ("user_id", "item_id", "event_type", "event_time"))
    return Guesses(columns, unknown, time_format, types, (*doubts, *more_doubts, *_no_sales(raw, columns)))


def guess_items(raw: pl.DataFrame, event_ids: pl.Series) -> Guesses:
    """Which column of the items' rows is which of ours. The item_id is the column that most of the events' ids (distinct) are found in."""
    columns = {"item_id": joining} if (joining := _joining(raw, event_ids)) else {}
    columns |= _texts(raw, {guess.expression for guess in columns.values()})
    if found := _named(raw, NAMES["price"]):
        columns["price"] = Guess(found)
    times = {name: found for name in ("available_from", "available_until") if (found := _named(raw, NAMES[name])) and formats(raw[found])}
    columns |= {name: Guess(found) for name, found in times.items()}
    time_format = formats(raw[next(iter(times.values()))])[0] if times else "iso"
    return Guesses(columns, _unknown(raw, columns, ("item_id", "title")), time_format)


def guess_items_of_events(raw: pl.DataFrame, item_id: Guess | None) -> Guesses:
    """The same where there is no table of items: their texts stand in the event rows."""
    columns = ({"item_id": item_id} if item_id else {}) | _texts(raw, set())
    return Guesses(columns, _unknown(raw, columns, ("item_id", "title")))


def item_ids(raw: pl.DataFrame, events: Guesses) -> pl.Series:
    """The distinct items of the event rows as guessed; none where their column was not found."""
    if "item_id" not in events.columns:
        return pl.Series([], dtype=pl.String)
    return evaluate(raw, events.columns["item_id"].expression, "events.columns.item_id").cast(pl.String).drop_nulls().unique()


def formats(values: pl.Series) -> list[str]:
    """The values of `time_format` that read this column best; none where it holds no times, two where no row tells day from month."""
    given = values.drop_nulls().unique()
    if given.is_empty() or given.dtype.is_temporal():
        return ["iso"] if given.len() else []
    numbers = given.cast(pl.Float64, strict=False)
    for name, (low, high) in EPOCHS.items():
        if numbers.is_between(low, high).fill_null(False).mean() == 1:
            return [name]
    if given.dtype != pl.String:
        return []
    if _share_read(given, "iso") == 1:
        return ["iso"]
    read = {form: _share_read(given, form) for form in ("iso", *TIME_FORMATS)}
    best = max(read.values())
    return [form for form, share in read.items() if share == best] if best >= READABLE else []


def _share_read(given: pl.Series, form: str) -> float:
    return 1 - to_utc(given, form, "UTC", "events.columns.event_time").null_count() / given.len()


def _named(raw: pl.DataFrame, names: Iterable[str]) -> str | None:
    """The column of that meaning: the likeliest name first, and of that name the first column that holds anything."""
    plain = {name: _plain(name) for name in theirs(raw)}
    return next((ours for name in names for ours, word in plain.items() if word == name and raw[ours].null_count() < raw.height), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def theirs(raw: pl.DataFrame) -> list[str]:
    """The shop's own columns of rows as read."""
    return [name for name in raw.columns if name not in (FILE, ROW)]


def _sql(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def unused(raw: pl.DataFrame, columns: dict[str, Guess]) -> list[str]:
    """The shop's own columns that no guess asks for."""
    return [name for name in theirs(raw) if not any(g.expression == name or _sql(name) in g.expression for g in columns.values())]


def _unknown(raw: pl.DataFrame, columns: dict[str, Guess], needed: tuple[str, ...]) -> dict[str, str]:
    left = ", ".join(unused(raw, columns))
    return {name: left for name in needed if name not in columns}


def _id(raw: pl.DataFrame, column: str) -> Guess:
    """The ids of a column, in one spelling."""
    ids = raw[column].cast(pl.String).drop_nulls().unique()
    expression, why = column, []
    if ids.len() and ids.str.contains(r"^\d+\.0$").all():
        expression, why = _mended(raw, column, SPELLINGS["end in .0"][1]), ["numbers that went through a float: 17850.0 is 17850"]
    twice = ids.len() - ids.str.to_uppercase().n_unique()
    if 0 < twice <= SLIPS * ids.len():
        expression = f"UPPER({expression if expression != column else _text(raw, column)})"
        why.append(f"{twice:,} ids are written in both cases")
    return Guess(expression, "; ".join(why))


def _joining(raw: pl.DataFrame, event_ids: pl.Series) -> Guess | None:
    """The column, and its spelling, that holds most of the events' ids; where none holds any, the one that is called so."""
    best, found = 0, None
    named = _named(raw, NAMES["item_id"])
    for column in sorted(theirs(raw), key=lambda name: name != named):
        for rule in RULES:
            ids = _spelled(raw, column, rule)
            n_found = int(event_ids.is_in(ids.implode()).sum())
            if n_found > best:
                expression = column if rule == RULES[0] else _mended(raw, column, rule)
                best, found = n_found, Guess(expression, f"{n_found:,} of the {event_ids.len():,} items of the events are there")
    return found or (Guess(named) if named else None)


def _spelled(raw: pl.DataFrame, column: str, rule: str) -> pl.Series:
    """The distinct ids of a column in a spelling; none where it holds no ids."""
    try:
        return evaluate(raw, _mended(raw, column, rule), "items.columns.item_id").drop_nulls().unique()
    except SourceError:
        return pl.Series([], dtype=pl.String)


def _mended(raw: pl.DataFrame, column: str, rule: str) -> str:
    return rule.replace("column", _text(raw, column), 1)


def _text(raw: pl.DataFrame, column: str) -> str:
    """SQL for a column as text: what mends a spelling takes nothing else."""
    return _sql(column) if raw.schema[column] == pl.String else f"CAST({_sql(column)} AS VARCHAR)"


def _when(raw: pl.DataFrame) -> tuple[str | None, str, tuple[str, ...]]:
    """The column of the time, its format, and what is doubtful of it."""
    named = [found for name in NAMES["event_time"] if (found := _named(raw, [name]))]
    for column in named or [name for name in theirs(raw) if raw.schema[name] == pl.String or raw.schema[name].is_temporal()]:
        fitting = formats(raw[column])
        if fitting:
            both = f"events.time_format: {fitting[0]} and {fitting[1]} both read every time; say which it is" if len(fitting) > 1 else ""
            zoned = fitting[0] in EPOCHS or _is_zoned(raw[column])
            zone = (
                ""
                if zoned
                else "events.time_zone: the times name no zone and are read as UTC; if the shop's clock wrote them, name its zone"
            )
            return column, fitting[0], tuple(filter(None, (both, zone)))
    return None, "iso", ()


def _is_zoned(times: pl.Series) -> bool:
    if times.dtype.is_temporal():
        return getattr(times.dtype, "time_zone", None) is not None
    return bool(times.drop_nulls().head(1).str.contains(r"(?:[Zz]|[+-]\d{2}:?\d{2})$").all())


What = tuple[Guess | None, dict[str, EventType], tuple[str, ...]]
"""An event_type, the types that the config declares, and doubts."""

PURCHASE = EventType(weight=1.0, label=1)
RETURN = EventType(weight=0.0, label=0)


def _what(raw: pl.DataFrame) -> What:
    """What happened: a column of words, a rating, the sign of a quantity, or one thing throughout."""
    column, rating, quantity = (_named(raw, names) for names in (NAMES["event_type"], RATINGS, QUANTITIES))
    if column and raw[column].n_unique() <= MOST_WORDS:
        return _words(raw, column)
    if rating and (best := raw[rating].cast(pl.Float64, strict=False).max()):
        return _rated(rating, float(str(best)))
    if quantity and (raw[quantity].cast(pl.Float64, strict=False) < 0).any():
        rule = f"CASE WHEN CAST({_sql(quantity)} AS DOUBLE) < 0 THEN 'return' ELSE 'purchase' END"
        return Guess(rule, "a negative quantity is a return"), {"purchase": PURCHASE, "return": RETURN}, ()
    if quantity or _named(raw, (*NAMES["price"], *NAMES["value"])):
        return Guess("'purchase'", "no column says what happened, but there is a quantity or a price"), {"purchase": PURCHASE}, ()
    doubt = "events.columns.event_type: no column says what happened; every row counts as a click"
    return Guess("'click'"), {"click": EventType(weight=1.0, label=1)}, (doubt,)


def _words(raw: pl.DataFrame, column: str) -> What:
    given = sorted(raw[column].cast(pl.String).drop_nulls().unique())
    usual = Events.model_fields["types"].default
    told = WORDS
    if any(_plain(word) in CLICKS for word in given):
        told = WORDS | {"impression": WORDS["impression"] + VIEWS, "click": tuple(word for word in WORDS["click"] if word not in VIEWS)}
    named = {ours: tuple(word for word in given if _plain(word) in names) for ours, names in told.items()}
    types = {ours: usual[ours].model_copy(update={"names": words}) for ours, words in named.items() if words}
    strange = [word for word in given if not any(word in words for words in named.values())]
    doubt = f"events.types: no type names {', '.join(map(repr, strange))}; such rows are rejected until one does"
    tells = any(kind.label for kind in types.values())
    return (Guess(column) if tells else None), types, ((doubt,) if strange and tells else ())


def _rated(rating: str, best: float) -> What:
    liked, seen = LIKED_SHARE * best, SEEN_SHARE * best
    number = f"CAST({_sql(rating)} AS DOUBLE)"
    rule = f"CASE WHEN {number} >= {liked:g} THEN 'purchase' WHEN {number} >= {seen:g} THEN 'click' ELSE 'return' END"
    doubt = f"events.types: of ratings up to {best:g}, {liked:g} and more count as liked; those below {seen:g} speak against an item"
    types = {"purchase": PURCHASE, "click": EventType(weight=0.2, label=0), "return": RETURN}
    return Guess(rule, "no column says what happened; the rating does"), types, (doubt,)


def _no_sales(raw: pl.DataFrame, columns: dict[str, Guess]) -> Iterator[str]:
    """Rows that shops keep among their sales and that are none: gifts and corrections at no price, carriage, fees, vouchers."""
    if "price" in columns and (n_free := int((raw[columns["price"].expression].cast(pl.Float64, strict=False) <= 0).sum())):
        yield f"events.exclude: {n_free:,} rows have a price of 0 or less; if they are no sales, take them out there"
    if "item_id" in columns:
        ids = evaluate(raw, columns["item_id"].expression, "events.columns.item_id").cast(pl.String).drop_nulls().unique().sort()
        wordy = ids.filter(~ids.str.contains(r"\d"))
        if 0 < len(wordy) <= SLIPS * len(ids):
            some = ", ".join(wordy.head(5))
            yield f"events.exclude: {len(wordy)} item ids hold no digit ({some} ...); if they are no items, take them out there"


def _value(raw: pl.DataFrame) -> dict[str, Guess]:
    quantity, price = _named(raw, QUANTITIES), _named(raw, NAMES["price"])
    if found := _named(raw, (*NAMES["value"], *RATINGS)):
        return {"value": Guess(found)}
    if quantity and price:
        return {"value": Guess(f"CAST({_sql(quantity)} AS DOUBLE) * CAST({_sql(price)} AS DOUBLE)", "what the line came to")}
    return {}


def _texts(raw: pl.DataFrame, taken: set[str]) -> dict[str, Guess]:
    """Columns of text; a table whose one text is called description has it for a title."""
    found: dict[str, Guess] = {}
    for ours in ("title", "description", "category", "category_path", "brand", "attributes"):
        column = _named(raw.drop(taken & set(raw.columns)), NAMES[ours])
        if column:
            found[ours] = Guess(column)
            taken = taken | {column}
    if "title" not in found and "description" in found:
        found = {"title": found.pop("description")} | found
    if "category" in found:
        found["category"] = _category(raw, found["category"].expression)
    return found


def _category(raw: pl.DataFrame, column: str) -> Guess:
    if raw[column].cast(pl.String).str.contains("|", literal=True).sum() > SLIPS * raw.height:
        return Guess(f"SPLIT_PART({_sql(column)}, '|', 1)", "the first of several")
    return Guess(column)

"""One column at a time: an SQL expression over the shop's columns becomes typed values, and each value that cannot says why."""

from dataclasses import dataclass
from functools import reduce

import polars as pl

from recsys.config_tables import Events, Items, Users
from recsys.errors import SourceError, nearest
from recsys.ingest.read import FILE, ROW
from recsys.schema import ITEM_TEXTS, TIME, Column, Table
from recsys.sql import fault

REASON = "reason"
"""Column of a parsed table: why the row is not used; null where it is."""

EXCLUDED = "excluded: "
EMPTY_TEXTS = ("title", "description")
"""Texts that are the empty string, not null, where the shop gives none."""

RANGES = {
    "value": (pl.col("value").is_finite(), "finite"),
    "price": (pl.col("price").is_finite() & (pl.col("price") >= 0), "finite and >= 0"),
    "position": ((pl.col("position") >= 1) & (pl.col("position") < 2**31) & (pl.col("position") % 1 == 0), "a whole number from 1"),
    "propensity": ((pl.col("propensity") > 0) & (pl.col("propensity") <= 1), "above 0 and at most 1"),
}
"""What a number must be. One that is not becomes null and is counted; its row stays."""

ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
ISO_ZONED = "%Y-%m-%d %H:%M:%S%.f%z"
EPOCHS = {"unix_s": 1_000_000, "unix_ms": 1_000}


@dataclass(frozen=True)
class Parsed:
    """Rows in the order read: our columns typed, then REASON; and how many numbers of usable rows were made null."""

    rows: pl.DataFrame
    mended: dict[str, int]


def parse(raw: pl.DataFrame, section: Items | Events, table: Table) -> Parsed:
    """Every column of `table` out of the raw rows.

    The reason of a row is the first that holds: an exclude in the order of the config, then a fault in the order of the columns.
    Raises SourceError naming the expression that does not fit the file.
    """
    columns: dict[str, pl.Series] = {}
    reasons = [_excluded(raw, section.exclude, table.name)]
    lost: dict[str, pl.Series] = {}
    for column in table.columns:
        found = given(raw, column, section, table.name)
        values = _typed(column, found, section, f"{table.name}.columns.{column.name}")
        reasons.append(_fault(column, found, values))
        kept = _in_range(values, column.name)
        lost[column.name] = kept.is_null() & values.is_not_null()
        columns[column.name] = (kept.fill_null("") if column.name in EMPTY_TEXTS else kept).cast(column.dtype)
    reason = pl.select(pl.coalesce([series for series in reasons if series is not None] or [_nothing(raw.height)])).to_series()
    mended = {name: count for name, is_lost in lost.items() if (count := int((is_lost & reason.is_null()).sum()))}
    return Parsed(pl.DataFrame(columns).with_columns(reason.alias(REASON)), mended)


def evaluate(raw: pl.DataFrame, text: str, place: str) -> pl.Series:
    """The values of a column name or SQL expression over the raw rows, one a row. Raises SourceError naming `place` and the fault."""
    known = [name for name in raw.columns if name not in (FILE, ROW)]
    try:
        expression = pl.col(text) if text in known else pl.sql_expr(text)
        unknown = [name for name in expression.meta.root_names() if name not in known]
        if not unknown:
            return raw.with_columns(expression.alias(place))[place]
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{place}: `{text}` cannot be computed: {fault(error)}. Mend the expression in the config.") from None
    raise SourceError(f"{place}: `{text}` asks for the column {unknown[0]!r}, which {_files(raw)} has not{nearest(unknown[0], known)}.")


def _files(raw: pl.DataFrame) -> str:
    return str(raw[FILE][0]) if raw.height else "the file"


def _nothing(height: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, height)


def _excluded(raw: pl.DataFrame, exclude: dict[str, str], table: str) -> pl.Series | None:
    reasons = []
    for reason, condition in exclude.items():
        place = f"{table}.exclude.{reason}"
        holds = evaluate(raw, condition, place)
        if holds.dtype != pl.Boolean:
            raise SourceError(f"{place}: `{condition}` is {holds.dtype}, not true or false. Compare it with something.")
        reasons.append(pl.when(holds).then(pl.lit(EXCLUDED + reason)))
    return pl.select(pl.coalesce(reasons)).to_series() if reasons else None


def given(raw: pl.DataFrame, column: Column, section: Items | Events | Users, table: str) -> pl.Series:
    """What the shop gives for a column of ours: blanks at the ends gone, null where there is nothing."""
    if column.name not in section.columns:
        return _nothing(raw.height)
    found = evaluate(raw, section.columns[column.name], f"{table}.columns.{column.name}")
    # A number that is none stays one, so that it is counted.
    return found if column.name in RANGES and found.dtype.is_float() else _cleaned(found)


def own(raw: pl.DataFrame, columns: dict[str, str], place: str) -> pl.DataFrame:
    """Columns of the shop's own, of whatever type their expressions give: blanks at the ends gone, null where there is nothing.

    Their names begin with `place`, so that they can stand beside any of ours.
    """
    return pl.DataFrame([_cleaned(evaluate(raw, text, place + name)) for name, text in columns.items()])


def _cleaned(found: pl.Series) -> pl.Series:
    if found.dtype == pl.String:
        stripped = found.str.strip_chars()
        return stripped.set(stripped == "", None)
    # A missing id that went through pandas is a NaN; left alone it would be one very busy user.
    return found.fill_nan(None) if found.dtype.is_float() else found


def _typed(column: Column, given: pl.Series, section: Items | Events, place: str) -> pl.Series:
    """The values with the column's meaning; null where there is none or it cannot be read."""
    try:
        if column.dtype == TIME:
            return to_utc(given, section.time_format, section.time_zone, place)
        if column.name in RANGES:
            return given.cast(pl.Float64, strict=False)
        words = given.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"{place}: {given.dtype} does not fit: {str(error).splitlines()[0]}. Mend the expression in the config."
        ) from None
    if column.name == "event_type" and isinstance(section, Events):
        ours = {word: name for name, event_type in section.types.items() for word in event_type.names or (name,)}
        return words.replace_strict(ours, default=None, return_dtype=pl.String)
    if column.name in ITEM_TEXTS:
        # Control characters and runs of blanks would reach the tokenizer and the dashboard.
        words = words.str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars()
        return words if column.name in EMPTY_TEXTS else words.set(words == "", None)
    return words


def _fault(column: Column, given: pl.Series, values: pl.Series) -> pl.Series | None:
    if values.null_count() == 0 or column.name in ITEM_TEXTS:
        return None
    if column.dtype == TIME:
        unread = pl.lit(f"{column.name} cannot be parsed")
    elif column.name == "event_type":
        unread = pl.format("event_type '{}' is unknown", given.cast(pl.String))
    else:
        unread = pl.lit(f"{column.name} is not a number")
    missing = pl.lit(None, pl.String) if column.nullable else pl.lit(f"{column.name} is missing")
    return pl.select(pl.when(given.is_null()).then(missing).when(values.is_null()).then(unread).alias(column.name)).to_series()


def _in_range(values: pl.Series, name: str) -> pl.Series:
    if name not in RANGES:
        return values
    # A price of 1e300 is finite in 64 bits and infinite in the 32 of the table.
    numbers = pl.DataFrame({name: values if name == "position" else values.cast(pl.Float32)})
    return numbers.select(pl.when(RANGES[name][0]).then(pl.col(name)).alias(name)).to_series()


def to_utc(given: pl.Series, time_format: str, time_zone: str, place: str) -> pl.Series:
    """Moments in UTC, null where they cannot be parsed.

    Times written without a zone are local to `time_zone`: an hour that comes twice (the clock goes back) is the earlier one,
    an hour that never comes is null. Raises SourceError for an unknown zone and for numbers without a unix format.
    """
    if given.dtype == pl.Null or given.null_count() == len(given):
        return given.cast(TIME, strict=False)
    if given.dtype.is_temporal():
        return _zoned(given.cast(pl.Datetime("us", getattr(given.dtype, "time_zone", None))), time_zone, place)
    if time_format in EPOCHS:
        # Scaled as 64-bit floats: exact to the microsecond until the year 2255, and 964982703.0 is read too.
        micros = (given.cast(pl.Float64, strict=False) * EPOCHS[time_format]).round()
        return micros.cast(pl.Int64, strict=False).cast(TIME)
    if given.dtype != pl.String:
        raise SourceError(f"{place}: is {given.dtype}, and time_format is {time_format!r}. Set time_format to unix_s or unix_ms.")
    if time_format == "iso":
        return _iso(given, time_zone, place)
    return _zoned(given.str.to_datetime(time_format, time_unit="us", strict=False), time_zone, place)


def _iso(given: pl.Series, time_zone: str, place: str) -> pl.Series:
    spaced = given.str.replace(r"^(\d{4}-\d{2}-\d{2})[Tt]", "${1} ")
    local = _coalesce([_zoned(spaced.str.to_datetime(form, time_unit="us", strict=False), time_zone, place) for form in ISO_FORMATS])
    if local.null_count() == given.null_count():
        return local
    offset = spaced.str.replace(r"\s*[Zz]$", "+00:00").str.replace(r"(:\d{2}(?:\.\d+)?)\s*([+-]\d{2})$", "${1}${2}:00")
    seconds = offset.str.replace(r"^(\S+ \d{2}:\d{2})([+-])", "${1}:00${2}")
    return _coalesce([local, seconds.str.to_datetime(ISO_ZONED, time_unit="us", strict=False).cast(TIME)])


def _coalesce(series: list[pl.Series]) -> pl.Series:
    return reduce(lambda first, second: first.zip_with(first.is_not_null(), second), series)


def _zoned(times: pl.Series, time_zone: str, place: str) -> pl.Series:
    if getattr(times.dtype, "time_zone", None):
        return times.dt.convert_time_zone("UTC").cast(TIME)
    try:
        local = times.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
    except pl.exceptions.PolarsError:
        section = place.split(".")[0]
        raise SourceError(f"{section}.time_zone: {time_zone!r} is no time zone. Give a name such as UTC or Europe/London.") from None
    return local.dt.convert_time_zone("UTC").cast(TIME)

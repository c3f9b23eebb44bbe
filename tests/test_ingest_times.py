from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ingest import NOW, config, shop

from recsys.errors import SourceError
from recsys.ingest import ingest
from recsys.ingest.columns import to_utc

ISO = {
    "2025-07-01": "2025-06-30 23:00",
    "2025-07-01 12:00": "2025-07-01 11:00",
    "2025-07-01T12:00:00": "2025-07-01 11:00",
    "2025-07-01 12:00:00.500": "2025-07-01 11:00:00.500",
    "2025-07-01T12:00:00Z": "2025-07-01 12:00",
    "2025-07-01 12:00:00+02:00": "2025-07-01 10:00",
    "2025-07-01T12:00:00.25-0130": "2025-07-01 13:30:00.250",
    "2025-07-01 12:00:00+00": "2025-07-01 12:00",
    "2025-07-01T12:00+02:00": "2025-07-01 10:00",
    "2025-01-01 12:00:00": "2025-01-01 12:00",
    "2025-10-26 01:30:00": "2025-10-26 00:30",
    "2025-03-30 01:30:00": None,
    "01/07/2025": None,
    "yesterday": None,
}


def test_iso_times_in_london_become_utc() -> None:
    """The hour that comes twice is the earlier one; the hour that never comes is no time."""
    found = to_utc(pl.Series(list(ISO)), "iso", "Europe/London", "events.columns.event_time")
    expected = [text and datetime.fromisoformat(text).replace(tzinfo=UTC) for text in ISO.values()]
    assert found.to_list() == expected


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
def test_unix_times_are_exact(moment: datetime) -> None:
    millis = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    expected = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis), None]
    assert to_utc(pl.Series([str(millis), "soon"]), "unix_ms", "UTC", "p").to_list() == expected
    assert to_utc(pl.Series([f"{millis / 1000:.3f}", "soon"]), "unix_s", "UTC", "p").to_list() == expected


def test_declared_formats_and_typed_times_are_read() -> None:
    noon = datetime(2025, 7, 1, 12)
    for given_times, form in (
        (pl.Series(["01/07/2025 14:00"]), "%d/%m/%Y %H:%M"),
        (pl.Series([noon + timedelta(hours=2)]), "iso"),
        (pl.Series([noon.replace(tzinfo=UTC)]), "iso"),
        (pl.Series(["01.07.25 14:00 +0200"]), "%d.%m.%y %H:%M %z"),
    ):
        assert to_utc(given_times, form, "Europe/Berlin", "p").to_list() == [noon.replace(tzinfo=UTC)]


def test_an_unknown_zone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"events\.time_zone: 'Mars/North' is no time zone"):
        ingest(config(events__time_zone="Mars/North"), shop(tmp_path), NOW)

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from test_ingest import EVENT_ROWS, ITEM_ROWS, NOW, config, csv, event, shop

from recsys.errors import SourceError, TableError
from recsys.ingest import ingest


def zst(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return pl.DataFrame(rows).write_ndjson().encode()


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "tsv": lambda rows: csv(rows, "\t"),
    "csv.gz": lambda rows: gzip.compress(csv(rows)),
    "csv.zst": lambda rows: zst(csv(rows)),
    "jsonl": jsonl,
    "ndjson.gz": lambda rows: gzip.compress(jsonl(rows)),
    "jsonl.zst": lambda rows: zst(jsonl(rows)),
}


@pytest.mark.parametrize("suffix", [*FORMATS, "parquet"])
def test_every_format_gives_the_same_tables(tmp_path: Path, suffix: str) -> None:
    expected = ingest(config(), shop(tmp_path), NOW)
    for name, rows in (("items", ITEM_ROWS), ("events", EVENT_ROWS)):
        if suffix == "parquet":
            pl.DataFrame(rows).write_parquet(tmp_path / f"{name}.parquet")
        else:
            (tmp_path / f"{name}.{suffix}").write_bytes(FORMATS[suffix](rows))
    found = ingest(config(items__path=f"items.{suffix}", events__path=f"events.{suffix}"), tmp_path, NOW)
    assert found.items.equals(expected.items)
    assert found.events.equals(expected.events)
    assert found.counts == expected.counts


@pytest.mark.parametrize("path", ["days", "days/2025-*.csv"])
def test_daily_files_are_one_table_and_hidden_files_none(tmp_path: Path, path: str) -> None:
    expected = ingest(config(), shop(tmp_path), NOW)
    (tmp_path / "days").mkdir()
    for day, row in enumerate(reversed(EVENT_ROWS)):
        columns = list(row) if day else list(row)[::-1]
        (tmp_path / f"days/2025-0{day}.csv").write_bytes(csv([{name: row[name] for name in columns}]))
    (tmp_path / "days/.part").write_text("x")
    (tmp_path / "days/_SUCCESS").write_text("")
    found = ingest(config(events__path=path), tmp_path, NOW)
    assert found.events.equals(expected.events)


def test_a_reject_names_its_daily_file_and_row(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "days").mkdir()
    (tmp_path / "days/a.csv").write_bytes(csv(EVENT_ROWS))
    (tmp_path / "days/b.csv").write_bytes(csv([event(), event(who="")]))
    rejects = ingest(config(events__path="days"), tmp_path, NOW).rejects
    assert rejects.select("file", "row", "reason").rows() == [("days/b.csv", 1, "exact duplicate"), ("days/b.csv", 2, "user_id is missing")]
    assert '"what":"007"' in rejects["content"][1]


def test_a_daily_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "days").mkdir()
    (tmp_path / "days/a.csv").write_bytes(csv(EVENT_ROWS))
    (tmp_path / "days/b.csv").write_text("who,what,did,at\n")
    with pytest.raises(SourceError, match=r"b\.csv: lacks the column 'paid'"):
        ingest(config(events__path="days"), tmp_path, NOW)


def test_a_folder_of_mixed_formats_is_refused(tmp_path: Path) -> None:
    shop(tmp_path)
    with pytest.raises(SourceError, match=r"unknown format '.txt'"):
        ingest(config(events__path="notes.txt"), tmp_path, NOW)
    (tmp_path / "days").mkdir()
    (tmp_path / "days/a.csv").write_bytes(csv(EVENT_ROWS))
    (tmp_path / "days/b.jsonl").write_bytes(jsonl(EVENT_ROWS))
    with pytest.raises(SourceError, match=r"mix the formats \.csv, \.jsonl"):
        ingest(config(events__path="days"), tmp_path, NOW)


BAD_FILES = {
    "an empty file": ("events.csv", b"", r"events\.csv: the file is empty"),
    "only a header": ("events.csv", b"who,what,did,at,paid\n", r"no row in events\.csv"),
    "not UTF-8": (
        "events.csv",
        b"who,what,did,at,paid\nann,7,buy,2025,1\nJos\xe9,7,buy,2025,1\n",
        r"not UTF-8 at byte 41 \(line 3: b'\\xe9'\)",
    ),
    "a header that is not UTF-8": ("events.csv", b"who,what\xe9\n1,2\n", r"not UTF-8 at byte 8 \(line 1"),
    "a line too long": ("events.csv", b"who,what\n1,2\n1,2,3\n", r"events\.csv: not readable as \.csv"),
    "no gzip": ("events.csv.gz", b"who,what", r"cannot be read: Not a gzipped file"),
    "half a gzip": ("events.csv.gz", gzip.compress(csv(EVENT_ROWS))[:-6], r"cannot be read: Compressed file ended"),
    "no zstandard": ("events.csv.zst", b"who,what", r"cannot be read"),
    "no JSON": ("events.jsonl", b'{"who": "ann"', r"not readable as \.jsonl"),
    "no Parquet": ("events.parquet", b"PAR1 no", r"not readable as \.parquet"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_FILES[case]
    shop(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises((SourceError, TableError), match=message):
        ingest(config(events__path=name), tmp_path, NOW)


def test_a_byte_that_is_not_utf8_is_found_behind_a_megabyte(tmp_path: Path) -> None:
    shop(tmp_path)
    # A letter of two bytes lies across the border of the chunks that are checked.
    head = "who\n" + "a" * ((1 << 20) - 5) + "é\n"
    (tmp_path / "events.csv").write_bytes(head.encode() + b"\xff\n")
    with pytest.raises(SourceError, match=rf"byte {len(head.encode())} \(line 3"):
        ingest(config(), tmp_path, NOW)


def test_a_missing_file_is_named_with_the_place_looked_in(tmp_path: Path) -> None:
    shop(tmp_path)
    for path, message in (("event.csv", r"event\.csv: no such file \(looked in"), ("*.tsv", r"\*\.tsv: no file there")):
        with pytest.raises(SourceError, match=message):
            ingest(config(events__path=path), tmp_path, NOW)

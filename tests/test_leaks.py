"""The leak audit, end to end: the clean shop passes every check, and each planted leak is found by exactly the check that is for it."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from recsys import config_file, timeline
from recsys.cli import main
from recsys.demo import write_shop
from recsys.demo.leaks import audited, plant_column
from recsys.demo.world import START
from recsys.ingest import CheckResult, ingest
from recsys.pipeline.checking import check
from recsys.pipeline.job import Job, Silent

NOW = datetime(2026, 11, 28, tzinfo=UTC)
N_DAYS = 70
TEST, VALID = (datetime.combine(START, datetime.min.time(), UTC) + timedelta(days=N_DAYS - back) for back in (14, 21))
FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"
EVENTS_TYPES = {"value": pl.Float64, "request_id": pl.String, "position": pl.Int32, "propensity": pl.Float64, "price": pl.Float64}

FAMILY = [
    "tables without the future",
    "features without the future",
    "candidates on sale",
    "features alone",
    "item columns",
    "windows",
    "copies across borders",
    "sessions across borders",
    "dates after the fact",
    "events on sale",
    "impressions",
    "order within days",
    "days of files",
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    write_shop(folder, n_items=250, n_users=250, n_days=N_DAYS)
    return folder


@pytest.fixture
def shop(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "shop"))


def job_of(folder: Path, **sections: dict[str, object]) -> Job:
    config = config_file.load(folder / "recsys.toml")
    changed = {name: getattr(config, name).model_copy(update=changes) for name, changes in sections.items()}
    return Job(config.model_copy(update=changed), folder, NOW, Silent())


def audit(job: Job) -> dict[str, CheckResult]:
    return {result.name.removeprefix("leak: "): result for result in check(job, leaks=True) if result.name.startswith("leak: ")}


def told(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: result.status for name, result in results.items() if result.status != "PASS"}


def change_events(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """All events through `change`, and back into one file a day."""
    files = sorted((folder / "events").glob("*"))
    frame = pl.concat([pl.read_csv(path, schema_overrides=EVENTS_TYPES) for path in files])
    changed = change(frame.with_columns(pl.col("time").str.to_datetime(FORMAT, time_unit="us", time_zone="UTC")))
    for path in files:
        path.unlink()
    for (day,), part in (
        changed.sort("time").with_columns(day=pl.col("time").dt.date()).partition_by("day", as_dict=True, include_key=False).items()
    ):
        part.write_csv(folder / "events" / f"{day}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    settings = folder / "recsys.toml"
    settings.write_text(settings.read_text().replace("*.csv.gz", "*.csv"))


def copied(events: pl.DataFrame, items: pl.DataFrame, border: datetime, days: int) -> pl.DataFrame:
    """What was done within so many days of a border, a minute before it as well; of items that could be had then."""
    day, until = f"{border:%Y-%m-%dT}", pl.col("available_until")
    had = items.filter((pl.col("available_from") < day) & (until.is_null() | (until > day)))["item_id"]
    inside = events.filter(pl.col("time").is_between(border, border + timedelta(days=days)) & (pl.col("event") == "click"))
    return pl.concat([events, inside.filter(pl.col("item").is_in(had.implode())).with_columns(time=pl.lit(border - timedelta(minutes=1)))])


@pytest.fixture(scope="module")
def of_clean(clean: Path) -> dict[str, CheckResult]:
    return audit(job_of(clean))


def test_the_clean_shop_passes_every_check_and_each_says_what_it_looked_at(of_clean: dict[str, CheckResult]) -> None:
    assert list(of_clean) == FAMILY
    assert told(of_clean) == {}
    assert all(any(letter.isdigit() for letter in result.message) for result in of_clean.values())
    assert "250 items" in of_clean["tables without the future"].message
    assert "text had no part" in of_clean["features without the future"].message
    assert "missing throughout" in of_clean["features alone"].message  # of the text features, nothing is known


def test_a_column_of_the_items_that_knows_the_window_is_found(shop: Path) -> None:
    tables = ingest(job_of(shop).config, shop, NOW)
    later = tables.events.filter(pl.col("event_time") >= TEST)
    known = plant_column(tables.items, later).select("item_id", code="attributes")
    pl.read_csv(shop / "items.csv").join(known, on="item_id", maintain_order="left").write_csv(shop / "items.csv")
    settings = shop / "recsys.toml"
    settings.write_text(settings.read_text().replace("[items.columns]", '[items.columns]\nattributes = "code"', 1))
    found = audit(job_of(shop))
    assert told(found) == {"item columns": "FAIL"}
    assert found["item columns"].examples[0].startswith("attributes (")


def test_impressions_written_down_at_the_purchase_alone_are_found(shop: Path) -> None:
    def plant(events: pl.DataFrame) -> pl.DataFrame:
        bought = events.filter(pl.col("event") == "buy")
        shown = bought.with_columns(event=pl.lit("view"), time=pl.col("time") - timedelta(minutes=5), value=pl.lit(None, pl.Float64))
        return pl.concat([events.filter(pl.col("event") != "view"), shown])

    change_events(shop, plant)
    found = audit(job_of(shop))
    assert told(found) == {"impressions": "FAIL"}
    assert "(100.0%)" in found["impressions"].message


def test_copies_of_test_events_a_minute_before_the_border_are_found(shop: Path) -> None:
    items = pl.read_csv(shop / "items.csv")
    change_events(shop, lambda events: copied(events, items, TEST, 3))
    found = audit(job_of(shop))
    assert told(found) == {"copies across borders": "FAIL"}
    assert (
        f"before test {found['copies across borders'].count} of {found['copies across borders'].count}"
        in found["copies across borders"].message
    )
    assert f"{TEST - timedelta(minutes=1):%Y-%m-%d %H:%M:%S}, again" in found["copies across borders"].examples[0]


def test_a_feature_that_has_the_answer_is_named(shop: Path) -> None:
    items = pl.read_csv(shop / "items.csv")
    change_events(shop, lambda events: copied(events, items, VALID, 7))
    found = audit(job_of(shop))
    assert told(found) == {"copies across borders": "FAIL", "features alone": "FAIL"}
    assert any(example.startswith("pair_") for example in found["features alone"].examples)
    assert "AUC" in found["features alone"].examples[0]


def test_items_that_came_after_their_first_events_are_found(shop: Path) -> None:
    items = pl.read_csv(shop / "items.csv")
    late = pl.col("available_from").str.to_datetime(FORMAT, time_unit="us", time_zone="UTC").clip(lower_bound=VALID - timedelta(days=10))
    is_some = pl.int_range(pl.len()) % 3 == 0
    shifted = pl.when(is_some).then(late.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).otherwise("available_from")
    items.with_columns(available_from=shifted).write_csv(shop / "items.csv")
    found = audit(job_of(shop))
    assert told(found) == {"events on sale": "FAIL"}
    assert "available from" in found["events on sale"].examples[0]


def test_an_expression_that_looks_at_later_lines_is_found_in_tables_and_features(shop: Path) -> None:
    exclude = {"often bought": "COUNT(item) OVER (PARTITION BY item) > 250"}
    found = audit(job_of(shop, events={"exclude": exclude}))
    assert told(found) == {"tables without the future": "FAIL", "features without the future": "FAIL"}
    assert found["tables without the future"].count > 0
    assert found["features without the future"].examples[0].startswith("as of 2026-")


def test_texts_kept_by_a_training_have_a_part(shop: Path) -> None:
    from recsys.blocks import Catalogue
    from recsys.pipeline.leaks.side import kept_side
    from recsys.pipeline.texts import read_texts
    from recsys.text import write_tiny_bert

    items = ingest(job_of(shop).config, shop, NOW).items
    write_tiny_bert(shop / "tiny", items["title"].to_list(), 0)
    job = job_of(shop, text={"encoder": "tiny"})
    assert not kept_side(job, Catalogue.of(items)).vectors
    texts = read_texts(job, Catalogue.of(items))
    side = kept_side(job, Catalogue.of(items))
    assert side.pooled.tobytes() == texts.pooled.tobytes()
    found = audit(job)
    assert told(found) == {}
    assert "text had no part" not in found["features without the future"].message


@pytest.mark.parametrize("encoder", ["no/such-encoder", "empty"])
def test_without_an_encoder_text_has_no_part(shop: Path, encoder: str) -> None:
    from recsys.blocks import Catalogue
    from recsys.pipeline.leaks.side import kept_side

    (shop / "empty").mkdir()
    job = job_of(shop, text={"encoder": encoder})
    assert not kept_side(job, Catalogue.of(ingest(job.config, shop, NOW).items)).vectors


def test_data_too_short_for_the_windows_are_said_and_what_needs_no_window_is_looked_at(shop: Path) -> None:
    change_events(shop, lambda events: events.filter(pl.col("time") >= VALID))
    found = audit(job_of(shop))
    unjudged = {name for name, result in found.items() if result.message == "not looked at: the windows do not fit in the data"}
    assert set(told(found)) == unjudged == set(FAMILY) - {"events on sale", "impressions", "order within days", "days of files"}


def test_a_window_without_anybody_is_said(shop: Path) -> None:
    change_events(shop, lambda events: events.filter(~pl.col("time").is_between(TEST, TEST + timedelta(days=13))))
    empty = job_of(shop, time={"test_days": 1, "valid_days": 7, "fold_days": 7, "gap_days": 0})
    found = audit(empty)
    assert found["features alone"].message.startswith("not looked at: only 0 users")
    assert "nobody acted in valid" in found["features without the future"].message


def test_one_user_is_not_judged_and_nothing_breaks(shop: Path) -> None:
    change_events(shop, lambda events: events.filter(pl.col("user") == events["user"].mode().sort()[0]))
    found = audit(job_of(shop))
    assert list(found) == FAMILY
    assert found["features alone"].status == "WARN"


def test_what_fails_before_ends_the_audit_with_a_word(shop: Path) -> None:
    (shop / "items.csv").unlink()
    found = audit(job_of(shop))
    assert told(found) == {"audit": "WARN"}
    assert "mend what fails" in found["audit"].message


def test_the_command_audits_only_where_it_is_asked(clean: Path) -> None:
    path = str(clean / "recsys.toml")
    plain = CliRunner().invoke(main, ["check", "--config", path])
    asked = CliRunner().invoke(main, ["check", "--leaks", "--config", path])
    assert (plain.exit_code, asked.exit_code) == (0, 0)
    assert "leak: " not in plain.stdout
    assert asked.stdout.count("leak: ") == len(FAMILY)
    shutil.rmtree(clean / "runs")


def test_the_tour_says_in_a_line_each_that_the_shop_is_clean_and_the_plant_is_found(shop: Path) -> None:
    clean_line, planted_line = audited(job_of(shop))
    assert clean_line.endswith("8 of 8 checks of the tables pass")
    assert "7 of 8 checks of the tables pass; FAIL leak: item columns: attributes" in planted_line


def test_the_windows_of_this_file_are_those_of_the_shop(clean: Path) -> None:
    job = job_of(clean)
    ledger = timeline.evaluation_ledger(*timeline.span(ingest(job.config, clean, NOW).events.lazy()), job.config)
    assert [window.start for window in ledger.windows[-2:]] == [VALID, TEST]

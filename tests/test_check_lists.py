"""`recsys check` of a loss over impressions: the lists of the text window are counted, or the loss is refused by name."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from worlds import TYPES, checkerboard, config, write_world

from recsys.pipeline.checking import check
from recsys.pipeline.job import Display, Job


@pytest.mark.parametrize(("loss", "has_lists"), [("softmax", False), ("list", False), ("list", True)])
def test_a_loss_over_impressions_is_checked_for_lists(tmp_path: Path, loss: str, has_lists: bool) -> None:
    world = checkerboard(12, 12)
    clicks = world.events.filter(pl.col("event_type") == "click").with_columns(request_id=pl.lit("r"))
    shown = [clicks.with_columns(event_type=pl.lit("impression"), event_time=pl.col("event_time") - pl.duration(minutes=1))]
    ignored = shown[0].with_columns(item_id=pl.lit("i000"))
    events = pl.concat(
        [world.events.with_columns(request_id=pl.lit("r")), *(shown if has_lists else []), *([ignored] if has_lists else [])]
    )
    write_world(tmp_path, world.items, world.events)
    events.select("user_id", "item_id", "event_type", "event_time", "value", "price", "request_id").write_csv(tmp_path / "events.csv")
    columns = {name: name for name in ("user_id", "item_id", "event_type", "event_time", "request_id")}
    settings = config({"text": {"loss": loss}, "events": {"columns": columns, "types": TYPES}})
    found = {result.name: result for result in check(Job(settings, tmp_path, datetime.now(UTC), Display()))}
    assert found["windows"].status == "PASS"
    if loss == "softmax":
        assert "lists" not in found
    elif has_lists:
        assert found["lists"].status == "PASS"
        assert "lists with choice" in found["lists"].message
    else:
        assert found["lists"].status == "FAIL"
        assert 'text.loss = "list"' in found["lists"].message

"""Rules over whole nights: what is listed, counted and priced, and what refuses a night while last night stays served."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import config_file, face, report, rules
from recsys.artefacts import Home, Run
from recsys.cli import main
from recsys.errors import ConfigError, PublishError, RecsysError, SourceError
from recsys.pipeline import checking, ranking, training

K = 5
TRAINED = {
    "bought_days": 10,
    "eligible": {"age": "item.min_age IS NULL OR item.min_age <= user.age"},
    "caps": {"brand": 2},
    "boosts": {"ours": {"where": "item.brand = 'b0'", "by": 2.0}},
    "pins": {"spring": {"rank": 1, "item": "i005"}},
    "mmr_lambda": 0.7,
}
"""Rules that the run is trained, and so priced, with."""


class Shop(NamedTuple):
    """A trained project: items have a brand, a stock and perhaps a least age, users an age and a country; u039 is not among them."""

    path: Path
    world: worlds.World
    run: Run
    items: pl.DataFrame
    users: pl.DataFrame


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    world = worlds.checkerboard()
    number = pl.col("item_id").str.slice(1).cast(pl.Int32)
    items = world.items.with_columns(
        brand_name="b" + (number % 4).cast(pl.String), stock=number % 5, min_age=pl.when(number % 3 == 0).then(pl.lit(18))
    )
    ids = [f"u{n:03}" for n in range(39)]
    users = pl.DataFrame({"id": ids, "age": [12 + n for n in range(39)], "country": ["DE" if n % 4 < 2 else "FR" for n in range(39)]})
    columns = worlds.SMALL["items"]["columns"] | {"brand": "brand_name"}
    changes = {
        "project": {"task": "all"},
        "items": {"columns": columns, "extra": {"stock": "CAST(stock AS INT)", "min_age": "CAST(min_age AS INT)"}},
        "users": {"path": "users.csv", "columns": {"user_id": "id", "age": "CAST(age AS INT)", "country": "country"}},
        "rules": TRAINED,
    }
    path = worlds.write_world(folder, world.items, world.events, changes)
    items.drop("brand").write_csv(folder / "items.csv")
    users.write_csv(folder / "users.csv")
    return Shop(path, world, face.train(path), items.with_columns(brand="brand_name"), users)


def night_under(shop: Shop, given: dict[str, Any], out: Path | None, k: int = K, task: str = "all") -> Path:
    """The folder of a night under these rules and no others."""
    with face.job(shop.path) as job:
        changed = job.config.model_dump() | {"rules": given}
        changed["project"]["task"] = task
        job.config = config_file.parse(changed, "test")
        return ranking.rank(job, None, None, None, k, out, False)


def ranked(shop: Shop, given: dict[str, Any], out: Path, k: int = K, task: str = "all") -> tuple[pl.DataFrame, dict[str, Any]]:
    """The lists and the manifest of such a night."""
    night = night_under(shop, given, out, k, task)
    return pl.read_parquet(night / "recommendations" / "*.parquet"), json.loads((night / "manifest.json").read_text())


def test_without_a_rule_the_night_is_that_of_a_config_that_knows_no_rules(shop: Shop, tmp_path: Path) -> None:
    lists, manifest = ranked(shop, {}, tmp_path / "none")
    # Rules that change nothing go through all of the machinery.
    same, counted = ranked(shop, {"eligible": {"any": "item.item_id IS NOT NULL"}, "caps": {"item_id": 1}}, tmp_path / "idle")
    assert lists.equals(same)
    assert "rules" not in manifest
    idle = {"removed": 0, "moved": 0, "users": 0, "short": 0, "missed": 0}
    assert counted["rules"]["by_rule"] == {"eligible.any": idle, "caps.item_id": idle}
    assert counted["rules"]["together"] == idle


def test_nobody_is_listed_what_a_condition_on_item_and_user_does_not_allow(shop: Shop, tmp_path: Path) -> None:
    asked = {"age": TRAINED["eligible"]["age"], "in_stock": "item.stock > 0"}
    lists, manifest = ranked(shop, {"eligible": asked}, tmp_path)
    known = lists.join(shop.items, on="item_id").join(shop.users.rename({"id": "user_id"}), on="user_id", how="left")
    assert known.filter(pl.col("stock") == 0).is_empty()
    assert known.filter((pl.col("min_age") > pl.col("age")).fill_null(False)).is_empty()
    # Of u039 nobody knows an age: NULL is not TRUE, so only what has no least age is left.
    assert known.filter((pl.col("user_id") == "u039") & pl.col("min_age").is_not_null()).is_empty()
    assert "u039" in lists["user_id"]
    plain = (
        ranked(shop, {}, tmp_path / "plain")[0]
        .join(shop.items, on="item_id")
        .join(shop.users.rename({"id": "user_id"}), on="user_id", how="left")
    )
    without_stock = plain.filter(pl.col("stock") == 0)
    assert without_stock.height > 0
    counted = manifest["rules"]["by_rule"]["eligible.in_stock"]
    assert (counted["removed"], counted["users"]) == (without_stock.height, without_stock["user_id"].n_unique())
    too_young = plain.filter(~(pl.col("min_age").is_null() | (pl.col("min_age") <= pl.col("age")).fill_null(False)))
    assert manifest["rules"]["by_rule"]["eligible.age"]["removed"] == too_young.height > 0


def test_what_was_bought_rests_for_the_days_of_its_category(shop: Shop, tmp_path: Path) -> None:
    lists, manifest = ranked(shop, {"bought_days": 20, "bought_days_by_category": {"odd": 3, "evn": 1}}, tmp_path, k=15)
    bought = shop.world.events.filter(pl.col("event_type") == "purchase").group_by("user_id", "item_id").agg(pl.col("event_time").max())
    again = lists.join(bought, on=["user_id", "item_id"]).join(shop.items.select("item_id", "category"), on="item_id")
    days = (pl.lit(worlds.END) - pl.col("event_time")) / pl.duration(days=1)
    assert again.filter(pl.col("category") == "even").select(days.min()).item() >= 20
    assert 3 <= again.filter(pl.col("category") == "odd").select(days.min()).item() < 20
    assert manifest["rules"]["notes"] == ["rules.bought_days_by_category: no item is of the category 'evn'"]


def test_what_somebody_looked_at_rests_too(shop: Shop, tmp_path: Path) -> None:
    lists, _ = ranked(shop, {"seen_days": 15}, tmp_path, k=15)
    recent = shop.world.events.filter(pl.col("event_time") > worlds.END - timedelta(days=15))
    assert lists.join(recent, on=["user_id", "item_id"], how="semi").is_empty()
    older = shop.world.events.filter(pl.col("event_time") < worlds.END - timedelta(days=15))
    assert not lists.join(older, on=["user_id", "item_id"], how="semi").is_empty()


def test_a_list_holds_no_more_of_a_brand_than_its_cap(shop: Shop, tmp_path: Path) -> None:
    lists, manifest = ranked(shop, {"caps": {"brand": 1, "category": 3}}, tmp_path)
    known = lists.join(shop.items, on="item_id")
    assert known.group_by("user_id", "brand").len()["len"].max() == 1
    assert known.group_by("user_id", "category").len()["len"].max() <= 3
    # There are four brands, so a list of five places has four.
    assert lists.group_by("user_id").len()["len"].unique().to_list() == [4]
    assert manifest["rules"]["by_rule"]["caps.brand"]["short"] == manifest["rules"]["together"]["short"] == 40


def test_a_pin_stands_at_its_rank_for_those_it_is_meant_for_even_where_it_was_no_candidate(shop: Shop, tmp_path: Path) -> None:
    asked = {
        "german": {"rank": 1, "item": "i005", "users": "user.country = 'DE'"},
        "french": {"rank": 1, "item": "i006", "users": "user.country = 'FR'"},
        "cheap": {"rank": 3, "items": "item.stock = 1"},
    }
    lists, manifest = ranked(shop, {"pins": asked}, tmp_path)
    first = lists.filter(pl.col("rank") == 1).join(shop.users, left_on="user_id", right_on="id", how="left")
    assert first.filter(pl.col("country") == "DE")["item_id"].unique().to_list() == ["i005"]
    assert first.filter(pl.col("country") == "FR")["item_id"].unique().to_list() == ["i006"]
    assert first.filter(pl.col("country").is_null())["reason"].item() != rules.PINNED
    assert lists.filter(pl.col("rank") == 3).join(shop.items, on="item_id")["stock"].unique().to_list() == [1]
    assert first.filter(pl.col("country").is_not_null())["reason"].unique().to_list() == [rules.PINNED]
    counted = manifest["rules"]["by_rule"]
    assert (counted["pins.german"]["missed"], counted["pins.french"]["missed"]) == (0, 0)


def test_a_pin_that_cannot_be_placed_is_said(shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = {
        "unknown": {"rank": 1, "item": "i999"},
        "empty": {"rank": 2, "item": "i005"},
        "none": {"rank": 3, "items": "item.stock > 99"},
        "far": {"rank": 5, "item": "i007"},
    }
    lists, manifest = ranked(shop, {"pins": asked, "eligible": {"in_stock": "item.stock > 0"}}, tmp_path, k=4)
    told = [
        "rules.pins.unknown: item 'i999' is not among the items: it is not placed",
        "rules.pins.empty: item 'i005' does not meet rules.eligible.in_stock: it is not placed",
        "rules.pins.far: is at rank 5, and the lists have 4 places: it is not placed",
        "rules.pins.none.items: no item meets it",
    ]
    assert manifest["rules"]["notes"] == told
    said = capfd.readouterr().err
    assert all(f"note: {line}" in said for line in told)
    assert {name: manifest["rules"]["by_rule"][f"pins.{name}"]["missed"] for name in asked} == dict.fromkeys(asked, 40)
    assert manifest["rules"]["together"]["missed"] == 160
    assert "i005" not in lists["item_id"]


def test_a_pin_of_an_item_that_is_not_on_sale_is_said(shop: Shop, tmp_path: Path) -> None:
    items = pl.read_csv(shop.path.parent / "items.csv", infer_schema=False)
    gone = pl.when(pl.col("item_id") == "i005").then(pl.lit("2024-01-02")).otherwise("available_until")
    with changed(shop.path.parent / "items.csv", items.with_columns(available_until=gone)):
        lists, manifest = ranked(shop, {"pins": {"gone": {"rank": 1, "item": "i005"}}}, tmp_path)
    assert manifest["rules"]["notes"] == [
        "rules.pins.gone: item 'i005' may not be shown at that moment (available_from, available_until): it is not placed"
    ]
    assert "i005" not in lists["item_id"]


def test_a_boost_raises_what_it_says_and_a_lowered_item_falls(shop: Shop, tmp_path: Path) -> None:
    plain = ranked(shop, {}, tmp_path / "plain")[0].join(shop.items, on="item_id")
    asked = {"up": {"where": "item.brand = 'b1'", "by": 1.0}, "down": {"where": "item.brand = 'b0'", "by": -50.0}}
    lists, manifest = ranked(shop, {"boosts": asked}, tmp_path)
    known = lists.join(shop.items, on="item_id")
    share = {name: (frame["brand"] == "b1").sum() for name, frame in (("plain", plain), ("boosted", known))}
    assert share["boosted"] > share["plain"]
    assert (known["brand"] == "b0").sum() < (plain["brand"] == "b0").sum()
    assert manifest["rules"]["by_rule"]["boosts.up"]["users"] > 0
    # The score stays the ranker's own.
    both = lists.join(plain, on=["user_id", "item_id"])
    assert both["score"].equals(both["score_right"], null_equal=False)


def test_a_least_score_shortens_lists_and_says_whose(shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lists, manifest = ranked(shop, {"min_score": 1.0}, tmp_path, k=30)
    lengths = lists.group_by("user_id").len()["len"]
    counted = manifest["rules"]["by_rule"]["min_score"]
    assert lengths.max() < 30
    assert counted["short"] == 40
    assert f"rules: 40 of 40 users have a shorter list by them, {40 - len(lengths)} have none" in capfd.readouterr().err


def test_task_new_and_the_rules_go_together(shop: Shop, tmp_path: Path) -> None:
    lists, _ = ranked(shop, {"caps": {"brand": 3}, "pins": {"spring": {"rank": 1, "item": "i004"}}}, tmp_path, k=3, task="new")
    assert lists.join(shop.world.events, on=["user_id", "item_id"], how="semi").is_empty()
    never_had = set(lists["user_id"]) - set(shop.world.events.filter(pl.col("item_id") == "i004")["user_id"])
    assert set(lists.filter((pl.col("rank") == 1) & (pl.col("item_id") == "i004"))["user_id"]) == never_had != set()


@contextmanager
def changed(path: Path, frame: pl.DataFrame) -> Iterator[None]:
    """A file of the shop with another content, for the length of a `with`."""
    before = path.read_bytes()
    frame.write_csv(path)
    try:
        yield
    finally:
        path.write_bytes(before)


def served(shop: Shop) -> str:
    """The night that is served; one is made where there is none."""
    home = Home(shop.path.parent / "runs")
    if not (home.nights / "current").exists():
        face.rank(shop.path)
    return home.night().run_id


BAD = [
    (
        {"eligible": {"age": "item.min_age <="}},
        r"rules.eligible.age: `item.min_age <=` is no SQL: .* at its end, character 15",
        ConfigError,
    ),
    ({"eligible": {"age": "item.minage > 3"}}, r"names item.minage, which there is not; did you mean 'item.min_age'", ConfigError),
    ({"eligible": {"age": "user.agee > 3"}}, r"names user.agee, which there is not; did you mean 'user.age'", ConfigError),
    (
        {"eligible": {"age": "user.country > 3"}},
        r"rules.eligible.age: `user.country > 3` cannot be computed: cannot compare string",
        SourceError,
    ),
    ({"eligible": {"age": "item.stock + 1"}}, r"rules.eligible.age: `item.stock \+ 1` is Int32, not true or false", SourceError),
    ({"eligible": {"age": "CAST(user.country AS INT) > 3"}}, r"conversion from `str` to `i32` failed.*TRY_CAST", SourceError),
    (
        {"eligible": {"all": "item.stock > 99"}},
        r"rules: leave none of 40 users anything \(rows removed by each alone: eligible.all 200\)",
        PublishError,
    ),
    ({"min_score": 50}, r"rules: leave none of 40 users anything", PublishError),
    ({"eligible": {"old": "user.age > 40"}}, r"10 of 40 users have a list, publish.fewest_share asks for 99%.*\[rules\]", PublishError),
    ({"caps": {"brnd": 2}}, r"rules.caps.brnd: items have no such column; did you mean 'brand'", ConfigError),
]


@pytest.mark.parametrize(("given", "told", "error"), BAD)
def test_bad_rules_are_named_and_last_night_stays_served(shop: Shop, given: dict[str, Any], told: str, error: type[RecsysError]) -> None:
    before = served(shop)
    nights = sorted((shop.path.parent / "runs" / "nights").iterdir())
    with pytest.raises(error, match=told):
        night_under(shop, given, None)
    assert served(shop) == before
    assert sorted((shop.path.parent / "runs" / "nights").iterdir()) == nights


def test_a_users_table_that_lost_a_column_refuses_the_night(shop: Shop) -> None:
    before = served(shop)
    with (
        changed(shop.path.parent / "users.csv", shop.users.rename({"age": "years", "country": "contry"})),
        pytest.raises(SourceError, match=r"users.columns.age: `CAST\(age AS INT\)` asks for the column 'age', which users.csv has not"),
    ):
        face.rank(shop.path)
    assert served(shop) == before


def test_of_a_user_whose_rows_differ_nothing_is_known(shop: Shop, tmp_path: Path) -> None:
    grown = shop.users.filter(pl.col("id") == "u000").with_columns(age=pl.lit(99, pl.Int64))
    with changed(shop.path.parent / "users.csv", pl.concat([shop.users, grown, shop.users.tail(1)])):
        lists, _ = ranked(shop, {"eligible": {"grown_up": "user.age > 0 OR item.item_id < 'i020'"}}, tmp_path, k=20)
        _, out, _ = cli("check", "--config", str(shop.path))
    assert lists.filter(pl.col("user_id") == "u000")["item_id"].max() < "i020"
    assert lists.filter(pl.col("user_id") == "u038")["item_id"].max() >= "i020"
    assert "WARN  users" in out
    assert "user_id repeats with other values: 2; exact duplicate: 1" in out


@pytest.mark.parametrize("rule", ["eligible", "bought_days", "caps", "min_score", "task"])
def test_a_list_that_broke_a_hard_rule_would_refuse_the_night(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    given: dict[str, Any] = {
        "eligible": {"eligible": {"in_stock": "item.stock > 0"}},
        "bought_days": {"bought_days": 20},
        "caps": {"caps": {"brand": 1}},
        "min_score": {"min_score": 1.0},
        "task": {"eligible": {"any": "item.item_id IS NOT NULL"}},
    }[rule]
    told = {"eligible": "eligible.in_stock", "caps": "caps.brand", "task": "project.task = new"}.get(rule, rule)
    task = "new" if rule == "task" else "all"
    listed = rules.Ruled.lists

    def careless(self: rules.Ruled, names: Any, k: int) -> Any:
        # As if the filters were wrong: lists without any rule, of seen items too.
        self.asked = self.asked.__class__(**{**self.asked.__dict__, "is_new": False})
        return listed(self, (), k)

    monkeypatch.setattr(rules.Ruled, "lists", careless)
    with pytest.raises(PublishError, match=rf"part-00000: \d+ rows break (rules\.)?{told} \(first: user_id=u\d+, item_id=i\d+\)"):
        ranked(shop, given, tmp_path, task=task)
    assert not list(tmp_path.iterdir())


def test_the_run_knows_what_each_rule_costs(shop: Shop) -> None:
    priced = shop.run.record("report")["rules"]
    names = ["no rules", "bought_days", "eligible.age", "caps.brand", "boosts.ours", "pins.spring", "mmr_lambda", "all together"]
    assert [one["name"] for one in priced["lists"]] == names
    plain = priced["lists"][0]
    assert plain["difference"] is None
    judged = shop.run.record("report")["tasks"]["all"]["systems"]["ranker"]
    assert plain["ndcg"] == pytest.approx(judged["ndcg@10"], abs=1e-12)
    assert plain["coverage"] == judged["coverage@10"]
    for one in priced["lists"][1:]:
        assert one["difference"]["difference"] == pytest.approx(one["ndcg"]["value"] - plain["ndcg"]["value"], abs=1e-12)
    assert plain["revenue"] > 0
    assert "What the rules cost on the test window, task all" in report.rules_text(shop.run)


def cli(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_the_command_shows_what_the_rules_did_and_cost(shop: Shop) -> None:
    served(shop)
    code, out, _ = cli("rules", "--config", str(shop.path))
    assert code == 0
    tables = [[line.split("  ")[1] for line in part.split("\n")[3:] if line.startswith("  ")] for part in out.split("\n\n")[1:]]
    names = ["bought_days", "eligible.age", "caps.brand", "boosts.ours", "pins.spring", "mmr_lambda", "all together"]
    assert tables[0][: len(names)] == names
    assert tables[1][: len(names) + 1] == ["no rules", *names]
    assert max(map(len, out.split("\n"))) <= 110
    found = json.loads(cli("rules", "--config", str(shop.path), "--format", "json")[1])
    assert found["unpriced"] == []
    assert found["tonight"]["n_users"] == 40


def test_rules_that_the_run_was_not_trained_with_are_named_as_unpriced(shop: Shop) -> None:
    night = night_under(shop, TRAINED | {"caps": {"brand": 1}, "min_score": -3.0}, None)
    found = report.ruled_night(Home(shop.path.parent / "runs"), night.name)
    assert found["unpriced"] == ["min_score", "caps.brand"]
    assert "min_score, caps.brand" in report.ruled_text(found)


def test_a_night_without_rules_says_so(shop: Shop) -> None:
    night = night_under(shop, {}, None)
    with pytest.raises(RecsysError, match="was made without rules"):
        report.ruled_night(Home(shop.path.parent / "runs"), night.name)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (TRAINED, "PASS", "6 rules fit the columns of items and users"),
        (
            {"pins": {"spring": {"rank": 1, "item": "i999"}}},
            "WARN",
            "rules.pins.spring: item 'i999' is not among the items: it is not placed",
        ),
        ({"eligible": {"none": "item.stock > 99"}}, "WARN", "rules.eligible.none: no item meets it"),
        ({"caps": {"description": 1}, "eligible": {"cheap": "item.price < 1000"}}, "PASS", "2 rules fit"),
        ({"eligible": {"age": "item.stock < user.country"}}, "FAIL", "rules.eligible.age: `item.stock < user.country` cannot be computed"),
        ({"eligible": {"age": "CAST(user.country AS INT) > item.stock"}}, "FAIL", "rules.eligible.age: .* conversion from `str` to `i32`"),
    ],
)
def test_check_reads_every_rule_on_every_item_and_user(shop: Shop, given: dict[str, Any], status: str, told: str) -> None:
    with face.job(shop.path) as job:
        job.config = config_file.parse(job.config.model_dump() | {"rules": given}, "test")
        found = {result.name: result for result in checking.check(job)}["rules"]
    assert found.status == status
    assert re.search(told, found.message)


def test_a_condition_that_fits_no_column_is_found_before_anything_is_trained(shop: Shop) -> None:
    with face.job(shop.path) as job:
        job.config = config_file.parse(job.config.model_dump() | {"rules": {"eligible": {"age": "CAST(user.country AS INT) > 3"}}}, "test")
        with pytest.raises(SourceError, match=r"rules.eligible.age"):
            training.train(job)
        assert job.clock.seconds["text"] == 0

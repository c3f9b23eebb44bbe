"""What an item's text is made of, and that its title outlives the cut."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import worlds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_text import Listener, job
from worlds import items_table

from recsys import face, ingest
from recsys.blocks import Catalogue
from recsys.config import TEMPLATE
from recsys.config_file import parse
from recsys.errors import ConfigError
from recsys.pipeline.ranking import config_of
from recsys.pipeline.texts import read_texts
from recsys.schema import ITEM_TEXTS, ITEMS, check
from recsys.text import Encoder, encoder_texts, item_texts, write_tiny_bert

MUG = {
    "item_id": "m",
    "title": "Blue mug",
    "brand": "Acme",
    "category": "Mugs",
    "category_path": "Home > Kitchen > Mugs",
    "description": "Holds tea",
    "attributes": "300 ml, stoneware",
}
WORDS = [f"w{number}" for number in range(30)]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


def test_the_columns_are_joined_in_the_order_of_the_template() -> None:
    items = items_table([MUG])
    assert item_texts(items) == ["Blue mug. Holds tea. Mugs"]
    order = ("brand", "title", "category_path", "attributes", "description")
    assert item_texts(items, order) == ["Acme. Blue mug. Home > Kitchen > Mugs. 300 ml, stoneware. Holds tea"]


def test_a_column_the_item_has_not_leaves_no_trace() -> None:
    items = items_table([{**MUG, "brand": None, "description": " ", "category_path": ""}])
    assert item_texts(items, ("brand", "title", "category_path", "description", "attributes")) == ["Blue mug. 300 ml, stoneware"]


@pytest.mark.parametrize(
    ("own", "expected"), [("title", "Acme. x. Mugs"), ("description", "Acme. x. Mugs"), ("attributes", "Acme. x. Mugs")]
)
def test_a_brand_or_a_category_alone_is_no_text(own: str, expected: str) -> None:
    bare = {"item_id": "m", "brand": "Acme", "category": "Mugs"}
    template = ("brand", own, "category")
    assert item_texts(items_table([bare]), template) == [""]
    assert item_texts(items_table([bare | {own: "x"}]), template) == [expected]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(write_tiny_bert(tmp_path_factory.mktemp("words"), [". ".join(WORDS)], seed=0, hidden=16, layers=1), "mean", 14, 1, 256)


def kept_words(encoder: Encoder, text: str) -> list[str]:
    return [word for word in encoder.tokenizer.convert_ids_to_tokens(encoder.tokens([text]).ids.tolist()) if word.startswith("w")]


@given(title=TEXTS, brand=TEXTS, description=TEXTS, order=st.permutations(["title", "brand", "description"]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_takes_the_title_last(encoder: Encoder, title: str, brand: str, description: str, order: list[str]) -> None:
    given = {"title": title, "brand": brand, "description": description}
    items = items_table([{"item_id": "m", **given}])
    whole = item_texts(items, tuple(order))[0]
    text = encoder_texts(items, tuple(order), encoder)[0]
    kept = kept_words(encoder, text)
    if not title and not description:
        assert text == ""
    elif len(encoder.tokenizer(whole)["input_ids"]) <= encoder.max_tokens:
        assert text == whole
    else:
        rest = [word for name in order if name != "title" for word in given[name].split()]
        assert kept == [*title.split(), *rest][: len(kept)]
        assert len(kept) >= min(len(title.split()), encoder.max_tokens - 2)


@pytest.mark.parametrize("brand", ["w1 " * 50_000, "w" * 50_000, "," * 50_000])
def test_a_brand_of_fifty_thousand_characters_does_not_push_the_title_out(encoder: Encoder, brand: str) -> None:
    items = items_table([{"item_id": "m", "title": "w7 w8 w9", "brand": brand.strip()}])
    text = encoder_texts(items, ("brand", "title"), encoder)[0]
    assert kept_words(encoder, text)[:3] == ["w7", "w8", "w9"]


def test_a_changed_template_encodes_the_changed_texts_again_and_no_other(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    worlds.tiny_bert(tmp_path / "tiny_bert", world.items)
    bare = {"title": "plain lamp", "description": "", "category": None}
    catalogue = Catalogue.of(pl.concat([world.items, items_table([{"item_id": f"z{n}", **bare} for n in range(3)])]))
    digests = {}
    for template, n_new in (((*TEMPLATE,), 43), (("description", "title"), 40), ((*TEMPLATE,), 0)):
        at_work = job(tmp_path, {"text": {"template": template, "steps": 0}})
        digests[template] = read_texts(at_work, catalogue).digest
        assert isinstance(at_work.display, Listener)
        assert at_work.display.said[-1] == f"text: {43 - n_new} vectors kept from before, {n_new} texts encoded"
    changed = [one != other for one, other in zip(*digests.values(), strict=True)]
    assert changed == [True] * 40 + [False] * 3


def test_a_catalogue_in_a_script_the_encoder_cannot_spell_is_said(tmp_path: Path) -> None:
    worlds.tiny_bert(tmp_path / "tiny_bert", worlds.checkerboard().items)
    said = []
    for title in ("river stone", "река камень"):
        at_work = job(tmp_path, {"text": {"steps": 0}})
        read_texts(at_work, Catalogue.of(items_table([{"item_id": "a", "title": title}])))
        assert isinstance(at_work.display, Listener)
        said.append([line for line in at_work.display.said if "unknown" in line])
    assert said == [[], ["text: 50% of the tokens are unknown to the encoder: name one of your languages in text.encoder"]]


def fault_of(template: list[str], columns: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        worlds.config({"text": {"template": template}, "items": {"columns": columns or {name: name for name in ITEMS.names}}})
    return str(caught.value)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (["titel"], "'titel' is no text of an item; did you mean 'title'?"),
        (["title", "price"], "'price' is no text of an item"),
        (["title", "title"], "'title' is there twice"),
        (["brand", "category_path"], "needs one of title, description, attributes"),
        ([], "needs one of title, description, attributes"),
    ],
)
def test_a_template_that_makes_no_text_is_refused_with_what_it_may_name(template: list[str], told: str) -> None:
    assert f"text.template: {told}" in fault_of(template)


def test_a_template_names_only_columns_that_the_shop_gives() -> None:
    columns = {"item_id": "sku", "title": "name"}
    told = fault_of(["title", "brand"], columns)
    assert "text.template: 'brand' is not in items.columns; say there which of your columns it is" in told
    assert worlds.config({"items": {"columns": columns}}).text.template == TEMPLATE


def shop(folder: Path, rows: list[dict[str, str]], changes: dict[str, dict[str, object]] | None = None) -> Path:
    world = worlds.checkerboard()
    path = worlds.write_world(folder, items_table([]), world.events, changes)
    pl.DataFrame(rows, schema=dict.fromkeys(ITEMS.names, pl.String)).write_csv(folder / "items.csv")
    return path


def ingested(path: Path) -> ingest.Tables:
    with face.job(path) as at_work:
        return ingest.ingest(at_work.config, at_work.base, at_work.now)


def test_brand_path_and_attributes_come_in_tidied_and_null_where_there_is_nothing(tmp_path: Path) -> None:
    tidy = {name: f" {name}\x00\n of  it " for name in ITEM_TEXTS}
    blank = dict.fromkeys(ITEM_TEXTS, " \t") | {"item_id": "i001"}
    items = ingested(shop(tmp_path, [{"item_id": "i000", **tidy}, blank])).items
    assert check(items, ITEMS).select(ITEM_TEXTS).rows() == [
        tuple(f"{name} of it" for name in ITEM_TEXTS),
        tuple("" if name in ("title", "description") else None for name in ITEM_TEXTS),
    ]


def test_items_from_events_take_their_brand_from_the_earliest_line_that_has_one(tmp_path: Path) -> None:
    lines = ["sku,name,maker,who,when", "a,Mug,,u1,2024-01-01", "a,Mug,Acme,u1,2024-01-02", "a,Mug,Other,u1,2024-01-03"]
    (tmp_path / "lines.csv").write_text("\n".join(lines))
    events = {"user_id": "who", "item_id": "sku", "event_type": "'click'", "event_time": "when"}
    columns = {"item_id": "sku", "title": "name", "brand": "maker"}
    values = {"items": {"path": "lines.csv", "from_events": True, "columns": columns}, "events": {"path": "lines.csv", "columns": events}}
    items = ingest.ingest(parse(values, "x"), tmp_path, worlds.END).items
    assert check(items, ITEMS).select("title", "brand", "attributes").rows() == [("Mug", "Acme", None)]


def test_the_check_of_texts_looks_at_the_columns_of_the_template(tmp_path: Path) -> None:
    rows = [{"item_id": "i000", "title": "mug"}, {"item_id": "i001", "attributes": "blue"}, {"item_id": "i002", "brand": "Acme"}]
    path = shop(tmp_path, rows, {"text": {"template": ["brand", "attributes", "title"]}})
    with face.job(path) as at_work:
        results = {result.name: result for result in ingest.run_checks(at_work.config, at_work.base, at_work.now)}
    assert results["item text"].message == "1 of 3 items have no attributes and no title"
    assert results["item text"].examples == ("i002",)


def test_a_table_written_before_there_were_brands_is_still_read() -> None:
    older = items_table([MUG]).drop("brand", "category_path", "attributes")
    assert item_texts(check(older, ITEMS)) == ["Blue mug. Holds tea. Mugs"]


def test_tonight_without_a_column_that_the_run_was_taught_with_is_refused(tmp_path: Path) -> None:
    taught = worlds.config({"text": {"template": ["title", "brand"]}})
    run = SimpleNamespace(run_id="r1", record=lambda _: taught.model_dump(mode="json"))
    assert config_of(job(tmp_path), run).text.template == ("title", "brand")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"config of run r1 .*\n  text\.template: 'brand' is not in items\.columns"):
        config_of(job(tmp_path, {"items": {"columns": {"item_id": "sku", "title": "name"}}}), run)  # type: ignore[arg-type]


def test_the_template_of_the_guide_is_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "config.md").read_text().split("## The text of an item")[1].split("## ")[0]
    shown = tomllib.loads("\n".join(line[4:] for line in guide.splitlines() if line.startswith("    ")))
    (tmp_path / "items.csv").write_text("sku,name,path,size,material\n1,Mug,Home > Kitchen > Mugs,300 ml,clay\n2,Cup,Home,,clay\n")
    (tmp_path / "events.csv").write_text("user_id,item_id,event_type,event_time\nu,1,click,2024-01-01\n")
    columns = {"item_id": "sku", "title": "name", "description": "name"} | shown["items"]["columns"]
    events = {name: name for name in ("user_id", "item_id", "event_type", "event_time")}
    values = {"items": {"path": "items.csv", "columns": columns}, "events": {"path": "events.csv", "columns": events}}
    made = parse(values | {"text": shown["text"]}, "x")
    items = ingest.ingest(made, tmp_path, worlds.END).items
    expected = ["Mug. Home > Kitchen > Mugs. 300 ml, clay. Mug", "Cup. Home. clay. Cup"]
    assert item_texts(items, made.text.template) == expected
    assert items["category"].to_list() == ["Home", "Home"]

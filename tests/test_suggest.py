"""A list out of one sentence: it follows the sentence, holds only what may be shown, and anything can be said."""

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner
from toy_text import Learned, learn

import recsys
from recsys import face
from recsys.artefacts import Home, draft
from recsys.blocks import Catalogue, History
from recsys.cli import main
from recsys.errors import ConfigError, DataError, FutureError, TableError
from recsys.schema import TIME

EVEN, ODD = (" ".join(worlds.WORDS[side]) for side in worlds.PARITIES)
GONE, YET, SILENT = "i200", "i201", "i202"
RUN_ID = "20240301-031500-ab12cd"


class Shop(NamedTuple):
    """A run with a real text model on a checkerboard whose items are named by two words of their side, and GONE, YET, SILENT."""

    path: Path
    learned: Learned


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder, world = tmp_path_factory.mktemp("shop"), worlds.checkerboard()
    more = [
        {"item_id": GONE, "title": EVEN, "available_until": worlds.END - worlds.DAY},
        {"item_id": YET, "title": EVEN, "available_from": worlds.END + worlds.DAY},
        {"item_id": SILENT, "category": "even"},
    ]
    rng = np.random.default_rng(0)
    words = [[*rng.choice(worlds.WORDS[side], 2, replace=False), rng.choice(worlds.FILLER)] for side in world.items["category"]]
    titled = world.items.with_columns(title=pl.Series(map(" ".join, words)), description=pl.lit(""))
    items = pl.concat([titled, worlds.items_table(more)])
    path = worlds.write_world(folder, items, world.events)
    learned = learn(folder, items, world.events, {"text": {"warm_steps": 50, "steps": 0, "blend_steps": 0}})
    home = Home(folder / "runs")
    with draft(home.runs / RUN_ID, {"knows_until": worlds.END.isoformat()}) as run:
        run.record("config", worlds.config().model_dump(mode="json"))
        learned.side.model.save(run.file("text/tower.json").parent)
    home.point(RUN_ID)
    return Shop(path, learned)


def cli(shop: Shop, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["suggest", "--config", str(shop.path), *arguments])
    return result.exit_code, result.stdout, result.stderr


def sides(found: pl.DataFrame) -> list[int]:
    return [worlds.parity(item) for item in found["item_id"]]


def newcomer(shop: Shop) -> np.ndarray:
    nobody = History.of(worlds.events_table([]), Catalogue.of(worlds.items_table([])), pl.Series("user_id", ["new"]), worlds.END, {})
    return shop.learned.side.model.user_vectors(nobody, shop.learned.side.vectors["text"])


@pytest.mark.parametrize(("sentence", "side"), [(EVEN, 0), (ODD, 1), ("MOUNTAIN light", 1)])
def test_a_sentence_in_the_words_of_a_side_lists_all_of_that_side_before_the_other(shop: Shop, sentence: str, side: int) -> None:
    found = face.suggest(shop.path, sentence, k=40)
    assert sides(found) == [side] * 20 + [1 - side] * 20
    assert found["rank"].to_list() == list(range(1, 41))
    assert found["score"].is_sorted(descending=True)


def test_a_sentence_is_the_user_who_liked_one_item_of_that_text(shop: Shop) -> None:
    model, item = shop.learned.side.model, worlds.items_table([{"item_id": "i0", "title": EVEN}])
    events = worlds.events_table([("one", "i0", "purchase", worlds.END - worlds.DAY), ("two", "i0", "click", worlds.START)])
    history = History.of(events, Catalogue.of(item), pl.Series("user_id", ["one", "two"]), worlds.END, {"purchase": 1.0, "click": 0.2})
    pooled = model.encoder.encode(model.encoder.tokens([EVEN]), lambda *_: None)
    expected = model.user_vectors(history, model.item_vectors(pooled, np.ones(1, bool)))
    np.testing.assert_allclose(model.declared([EVEN, EVEN]), expected, atol=1e-5)


@pytest.mark.parametrize("sentence", ["", " \t\n", "\u200b\u200e", "木のおもちゃ"])
def test_a_sentence_that_says_nothing_to_the_encoder_is_the_newcomer(shop: Shop, sentence: str) -> None:
    assert shop.learned.side.model.declared([sentence, EVEN])[0].tobytes() == newcomer(shop)[0].tobytes()
    code, out, err = cli(shop, "--", sentence)
    assert code == 0
    assert len(out.splitlines()) == 2 + 5
    assert "somebody who said nothing" in err


def test_sentences_do_not_change_one_another(shop: Shop) -> None:
    model = shop.learned.side.model
    together = model.declared([EVEN, "", ODD])
    assert together.shape == (3, 1, model.tower.dim)
    np.testing.assert_allclose(together, np.concatenate([model.declared([one]) for one in (EVEN, "", ODD)]), atol=1e-5)
    assert model.declared([]).shape == (0, 1, model.tower.dim)


def test_only_items_with_a_text_that_may_be_shown_are_listed(shop: Shop) -> None:
    assert not {GONE, YET, SILENT} & set(face.suggest(shop.path, EVEN, k=10_000)["item_id"])
    later = face.suggest(shop.path, EVEN, k=10_000, as_of=worlds.END + 2 * worlds.DAY)
    assert set(later["item_id"]) == {*worlds.checkerboard().items["item_id"], YET}


@pytest.mark.parametrize("sentence", ["pebble river " * 3847, "\U0001f9f8 pebble кубики 木", "--k 3; DROP TABLE items", "pebble\x00river"])
def test_whatever_is_said_gets_a_list(shop: Shop, sentence: str) -> None:
    found = face.suggest(shop.path, sentence)
    assert found.height == 5
    assert found["score"].is_finite().all()


def test_two_equal_calls_give_the_same_bytes(shop: Shop) -> None:
    one, two = (face.suggest(shop.path, EVEN, k=40) for _ in range(2))
    assert one["score"].to_numpy().tobytes() == two["score"].to_numpy().tobytes()
    assert one.equals(two)
    assert cli(shop, EVEN)[1] == cli(shop, EVEN)[1]


def test_the_command_prints_rank_item_title_and_score(shop: Shop) -> None:
    code, out, _ = cli(shop, EVEN, "--k", "3", "--run", RUN_ID, "--as-of", "2024-03-01T02:00+02:00")
    found = recsys.suggest(shop.path, EVEN, k=3, as_of=worlds.END + worlds.DAY)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["rank", "item_id", "title", "score"]
    printed = [(int(rank), item, " ".join(title), score) for rank, item, *title, score in lines[2:]]
    assert printed == [(rank, item, title, f"{score:.4f}") for rank, item, title, score in found.rows()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["toys", "--run", "nowhere"], "nowhere"),
        (["toys", "--as-of", "soon"], "is not a moment"),
        (["toys", "--as-of", "2024-01-05"], "Name an older run"),
        (["caf\udce9"], "Write the sentence in UTF-8"),
    ],
)
def test_a_user_error_is_one_message_and_exit_2(shop: Shop, arguments: list[str], says: str) -> None:
    code, out, err = cli(shop, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_the_python_face_refuses_as_the_command_does(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="Ask for 1 to 10,000"):
        face.suggest(shop.path, EVEN, k=0)
    with pytest.raises(FutureError):
        face.suggest(shop.path, EVEN, as_of=worlds.END.replace(tzinfo=None) - timedelta(days=1))
    with pytest.raises(DataError, match="sentence 2: place 4"):
        shop.learned.side.model.declared([EVEN, "caf\udce9"])


def test_a_shop_in_which_nothing_may_be_shown_says_so(shop: Shop, tmp_path: Path) -> None:
    items = worlds.checkerboard().items.with_columns(available_until=pl.lit(worlds.START, TIME))
    path = worlds.write_world(tmp_path, items, worlds.checkerboard().events)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "runs").symlink_to(shop.path.parent / "runs" / "runs")
    with pytest.raises(TableError, match="none of 40 has a text and may be shown"):
        face.suggest(path, EVEN)

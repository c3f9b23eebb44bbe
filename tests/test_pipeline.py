"""The whole of it on a small world: what is published, that it repeats, and that it never knows the future."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import config, config_file, evaluate, face, ingest, ranker, report, schema, text
from recsys.artefacts import Run
from recsys.blocks import Catalogue
from recsys.cli import main
from recsys.errors import ArtefactError, FutureError, RecsysError, SourceError, TooShortError
from recsys.pipeline import tables
from recsys.pipeline.job import Clock
from recsys.pipeline.snapshot import TextSide, chunk, snapshot
from recsys.pipeline.texts import load_texts, unit
from recsys.pipeline.verdict import SYSTEMS
from recsys.text.tower import Tower

DATA = Path(os.environ.get("RECSYS_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, worlds.World, Run]:
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path_factory.mktemp("checkerboard"), world.items, world.events)
    return path, world, face.train(path)


def lists_of(night: Path) -> pl.DataFrame:
    return pl.read_parquet(night / "recommendations" / "*.parquet")


def test_the_held_out_item_is_recommended_to_nearly_everybody(checkerboard, tmp_path) -> None:
    path, world, _ = checkerboard
    lists = lists_of(face.rank(path, k=5, out=tmp_path))
    answers = pl.DataFrame(world.answers, schema=["user_id", "item_id"], orient="row")
    found = answers.join(lists, on=["user_id", "item_id"], how="inner").height
    assert found >= 0.9 * answers.height


def test_the_report_has_every_system_and_its_figures(checkerboard) -> None:
    report = checkerboard[2].record("report")
    for task in ("all", "new"):
        assert set(report["tasks"][task]["systems"]) == set(SYSTEMS)
        assert {row["b"] for row in report["tasks"][task]["paired"]} == set(SYSTEMS) - {"ranker"}
        judged = report["tasks"][task]["systems"]["ranker"]
        assert {metric for metric, figure in judged.items() if not figure["n"]} == set()
    assert report["tasks"]["new"]["systems"]["ranker"]["repeat_rate@10"]["value"] == 0
    assert report["tasks"]["all"]["systems"]["repurchase"]["repeat_rate@10"]["value"] > 0.5
    assert report["grouped_auc"] is None
    assert [w["name"] for w in report["windows"]] == ["text", "fold_1", "fold_2", "valid", "test"]
    assert set(report["seconds"]) == {"ingest", "text", "candidates", "features", "ranker", "evaluate", "refit"}


def test_a_run_keeps_what_its_verdict_was_asked_and_can_be_judged_by_it_again(checkerboard) -> None:
    run = checkerboard[2]
    tables, scales = {name: run.table(name) for name in evaluate.KEPT_TABLES}, run.record(evaluate.KEPT_SCALES)
    for task in ("all", "new"):
        lists = run.table("lists").filter(pl.col("task") == task)
        by_system = {name: lists.filter(pl.col("system") == name).select("user_id", "item_id", "rank") for name in SYSTEMS}
        again = evaluate.judge(by_system, evaluate.question_of(task, tables, scales), "ranker", 50, 7)
        kept = run.table("per_user").filter(pl.col("task") == task)
        columns = ["system", "user_id", "ndcg@10", "recall@10", "map@10", "mrr@10"]
        assert again.per_user.height
        assert again.per_user.select(columns).equals(kept.select(columns))
        assert again.n_without_truth == run.record("report")["tasks"][task]["n_without_truth"]


def test_the_ranker_is_judged_by_what_was_shown_and_what_it_has_no_score_for_is_counted(checkerboard, tmp_path) -> None:
    world, start = worlds.checkerboard(), worlds.END - timedelta(days=windows_of(checkerboard[0])[-1][1])
    inside = world.events.filter(pl.col("event_time") >= start)
    users = inside["user_id"].unique().sort()
    went_for = set(inside.filter(pl.col("event_type") != "return").select("user_id", "item_id").rows())
    rng = np.random.default_rng(5)
    passed_over = {(user, f"i{2 * item + 1 - worlds.parity(user):03}") for user in users for item in rng.choice(20, 4, replace=False)}
    # Some users are shown what they went for alone, twice over; somebody who never acts is shown something, and is not asked.
    shown = [(u, i) for u, i in passed_over if u not in users[:3]] + sorted(went_for) * 2 + [("stranger", "i000")]
    impressions = worlds.events_table([(user, item, "impression", start + timedelta(hours=1)) for user, item in shown])
    events = pl.concat([world.events, impressions]).sort("user_id", "event_time", "item_id", "event_type")
    found = face.train(worlds.write_world(tmp_path, world.items, events)).record("report")["grouped_auc"]
    assert found["shown"] == len(set(shown)) - 1
    assert found["n"] + found["n_left_out"] <= len(users)
    assert found["n_left_out"] >= 3
    assert 0 <= found["not_candidates"] < found["shown"]
    assert 0.8 < found["low"] <= found["value"] <= found["high"] <= 1


def test_the_vectors_that_a_page_compares_are_those_of_the_text_source_without_its_model(checkerboard) -> None:
    path, _, run = checkerboard
    with face.job(path) as job:
        kept = job.home.tables(run.manifest["tables"])
        catalogue = Catalogue.of(kept.table("items"))
        model = text.InterestModel.load(run.file("text/tower.json").parent, job.config.text)
        expected = load_texts(job, model, catalogue).vectors["text"]
        found = report.text_vectors(job.home, run, kept)
    assert found.item_id.to_list() == catalogue.items["item_id"].to_list()
    assert found.vectors == pytest.approx(expected, abs=1e-5)
    assert found.n_absent == 0


def test_a_night_is_whole_and_says_what_it_is(checkerboard, tmp_path) -> None:
    path, world, run = checkerboard
    night = face.rank(path, k=7, out=tmp_path)
    manifest, lists = json.loads((night / "manifest.json").read_text()), lists_of(night)
    assert manifest["run_id"] == run.run_id
    assert (manifest["n_users"], manifest["n_rows"]) == (world.events["user_id"].n_unique(), lists.height)
    assert {"as_of", "config_hash", "seconds", "digests"} <= manifest.keys()
    assert lists.columns == schema.RECOMMENDATIONS.names
    assert lists["reason"].null_count() == 0


def test_the_same_night_twice_is_the_same_bytes(checkerboard, tmp_path) -> None:
    path = checkerboard[0]
    one, two = (face.rank(path, out=tmp_path / name) for name in ("one", "two"))
    assert json.loads((one / "manifest.json").read_text())["digests"] == json.loads((two / "manifest.json").read_text())["digests"]


def test_the_same_inputs_train_the_same_bytes_and_encode_nothing_again(checkerboard, capfd) -> None:
    path, _, first = checkerboard
    run_ids = first.run_id
    with face.job(path) as job:
        job.now += timedelta(seconds=5)  # a run id holds its second
        from recsys.pipeline.training import train

        second = train(job)
    assert second.run_id != run_ids
    assert " 0 texts encoded" in capfd.readouterr().err
    same = [name for name in first.manifest["digests"] if name.startswith(("text/", "ranker", "lists", "per_user", "question/", "windows"))]
    assert {n: first.manifest["digests"][n] for n in same} == {n: second.manifest["digests"][n] for n in same}


def test_small_chunks_give_the_same_lists(checkerboard, tmp_path) -> None:
    path = checkerboard[0]
    whole = lists_of(face.rank(path, out=tmp_path / "whole"))
    with face.job(path) as job:
        from recsys.pipeline.ranking import rank

        job.config = job.config.model_copy(update={"rank": job.config.rank.model_copy(update={"chunk_users": 7})})
        parts = lists_of(rank(job, None, None, None, None, tmp_path / "parts", False))
    numbers = ["score", *schema.CHANCES]
    assert whole.drop(numbers).equals(parts.drop(numbers))
    for name in numbers:  # null where the world is too small for a chance
        np.testing.assert_allclose(whole[name].cast(pl.Float64).to_numpy(), parts[name].cast(pl.Float64).to_numpy(), atol=1e-6)


def test_events_gone_through_in_small_batches_give_the_same_bytes(monkeypatch) -> None:
    world = worlds.cold_item_shop()
    users = world.events["user_id"].unique().sort()[:20]
    whole = known_as_of(world.items, world.events, worlds.END, users, worlds.config())
    monkeypatch.setattr(tables, "EVENTS_AT_ONCE", 37)
    batches = list(tables.interactions_by_user(world.events.lazy(), worlds.END))
    assert len(batches) > 10
    assert pl.concat([part for part, _ in batches]).to_list() == world.events["user_id"].unique().sort().to_list()
    assert_same_bytes(whole, known_as_of(world.items, world.events, worlds.END, users, worlds.config()))


def test_the_judged_ranker_is_fitted_on_the_valid_window_too_once_that_has_chosen_the_trees(tmp_path, monkeypatch) -> None:
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path, world.items, world.events)
    fits: list[tuple[int, int | None, int | None, int | None]] = []
    fit, made = ranker.fit, []

    def watched(rows, valid, *given, n_trees=None, base=None):
        fits.append((len(rows.label), len(valid.label) if valid else None, n_trees, base.n_trees if base else None))
        made.append(fit(rows, valid, *given, n_trees=n_trees, base=base))
        return made[-1]

    monkeypatch.setattr(ranker, "fit", watched)
    run = face.train(path)
    trees, n_base = run.record("chosen")["trees"], run.record("chosen")["trees_without_text"]
    assert [n_trees for _, _, n_trees, _ in fits] == [None, n_base, None, trees, n_base, trees]
    assert [before for *_, before in fits] == [None, None, n_base, n_base, None, n_base]
    for chosen, judged in (fits[:2], fits[2:4]):
        assert chosen[1] is not None
        assert judged[1] is None
        assert chosen[0] < judged[0] <= chosen[0] + chosen[1]
    assert [held_out for _, held_out, _, _ in fits[4:]] == [None, None]
    assert run.record("ranker") == {"n_base": made[4].n_trees}
    assert run.file("ranker.txt").read_text() == made[5].text()


def test_a_stranger_gets_a_full_list(checkerboard, tmp_path) -> None:
    path, world, _ = checkerboard
    (tmp_path / "users.txt").write_text(f"nobody-knows-me\n{world.events['user_id'][0]}\n\n")
    lists = lists_of(face.rank(path, users=tmp_path / "users.txt", k=5, out=tmp_path))
    assert lists.group_by("user_id").len().sort("user_id")["len"].to_list() == [5, 5]


def test_whoever_text_tells_nothing_of_gets_the_list_of_the_ranker_without_text(tmp_path) -> None:
    world = worlds.checkerboard()
    late = world.events["event_time"].max()
    wordless = worlds.items_table([{"item_id": "i999"}])
    # Two newcomers, one who only ever sent something back, and one who bought what has no text.
    before = worlds.events_table([("v3", "i003", "return", worlds.START), ("v4", "i999", "purchase", worlds.START)])
    joined = worlds.events_table([(f"v{n}", f"i00{n}", "purchase", late) for n in (1, 2, 3, 4)])
    events = pl.concat([world.events, before, joined])
    # Without a blend, which would know the item without a text by its id.
    path = worlds.write_world(tmp_path, pl.concat([world.items, wordless]), events, {"text": {"blend_steps": 0}})
    lists = face.train(path).table("lists").filter(pl.col("system").str.starts_with("ranker")).sort("task", "user_id", "rank")
    of = {name: lists.filter(pl.col("system") == name).drop("system") for name in ("ranker", "ranker_no_text")}
    late_comers = pl.col("user_id").str.starts_with("v")
    assert not of["ranker"].equals(of["ranker_no_text"])
    assert of["ranker"].filter(late_comers).select("user_id", "task").unique().height == 8
    assert of["ranker"].filter(late_comers).equals(of["ranker_no_text"].filter(late_comers))


def test_a_catalogue_without_a_text_is_ranked_by_behaviour_alone(tmp_path) -> None:
    world = worlds.checkerboard()
    wordless = world.items.with_columns(title=pl.lit(""), description=pl.lit(""))
    path = worlds.write_world(tmp_path, world.items, world.events)
    wordless.write_csv(tmp_path / "items.csv")
    run = face.train(path, ablate=True)
    chosen, lists = run.record("chosen"), run.table("lists")
    assert chosen["trees"] == chosen["trees_without_text"]
    assert run.record("report")["ablation"]["left_out"]["tuned_collaborative"] == "there was nothing to learn from"
    ranked, plain = (lists.filter(pl.col("system") == name).drop("system") for name in ("ranker", "ranker_no_text"))
    assert ranked.sort("task", "user_id", "rank").equals(plain.sort("task", "user_id", "rank"))
    assert lists_of(face.rank(path, k=5, out=tmp_path))["user_id"].n_unique() == 40


def test_task_new_never_lists_what_the_user_had(checkerboard, tmp_path) -> None:
    path, world, _ = checkerboard
    with face.job(path) as job:
        from recsys.pipeline.ranking import rank

        job.config = job.config.model_copy(update={"project": job.config.project.model_copy(update={"task": "new"})})
        lists = lists_of(rank(job, None, None, None, None, tmp_path, False))
    assert lists.join(world.events, on=["user_id", "item_id"], how="semi").is_empty()


def test_an_item_withdrawn_or_yet_to_come_is_never_listed(tmp_path) -> None:
    world = worlds.checkerboard()
    gone, yet = world.items["item_id"][0], world.items["item_id"][1]
    end = world.events["event_time"].max()
    items = world.items.with_columns(
        available_until=pl.when(pl.col("item_id") == gone).then(pl.lit(end - timedelta(days=1), schema.TIME)),
        available_from=pl.when(pl.col("item_id") == yet).then(pl.lit(end + timedelta(days=30), schema.TIME)),
    )
    path = worlds.write_world(tmp_path, items, world.events)
    face.train(path)
    listed = set(lists_of(face.rank(path, k=40, out=tmp_path))["item_id"])
    assert not listed & {gone, yet}
    assert len(listed) > 10


def test_a_model_is_refused_the_past_it_has_seen(checkerboard, tmp_path) -> None:
    path, world, _ = checkerboard
    past = world.events["event_time"].max() - timedelta(days=3)
    with pytest.raises(FutureError, match="would know the future"):
        face.rank(path, as_of=past, out=tmp_path)
    night = face.rank(path, as_of=past, out=tmp_path, allow_future_model=True)
    assert json.loads((night / "manifest.json").read_text())["model_knows_the_future"] is True


def test_a_training_that_fails_leaves_the_last_run_current(checkerboard) -> None:
    path = checkerboard[0]
    before = face.load_run(path).run_id
    with face.job(path) as job:
        from recsys.pipeline.training import train

        job.config = job.config.model_copy(update={"time": job.config.time.model_copy(update={"test_days": 300})})
        job.now += timedelta(seconds=10)
        with pytest.raises(TooShortError, match="What would fit"):
            train(job)
    assert face.load_run(path).run_id == before


def quiet_between(first: int, last: int) -> worlds.World:
    """The checkerboard in which nobody acts on the days `first` to `last`, counted back from the end."""
    world = worlds.checkerboard()
    back = (pl.lit(worlds.END) - pl.col("event_time")) / pl.duration(days=1)
    return world._replace(events=world.events.filter((back > first) | (back <= last)))


def windows_of(config_path: Path) -> list[tuple[str, int, int]]:
    """Each window after the text's: its name, and how many days before the end it begins and ends."""
    from recsys.timeline import evaluation_ledger

    ledger = evaluation_ledger(worlds.START, worlds.END, config_file.load(config_path))
    return [(w.name, (worlds.END - w.start).days, (worlds.END - w.end).days) for w in ledger.windows[1:]]


def test_a_fold_in_which_nobody_acted_is_passed_over(checkerboard, tmp_path) -> None:
    name, first, last = windows_of(checkerboard[0])[0]
    assert name == "fold_1"
    world = quiet_between(first, last)
    run = face.train(worlds.write_world(tmp_path, world.items, world.events))
    assert run.record("report")["windows"][1]["n_queries"] == 0


def test_a_test_window_in_which_nobody_acted_is_refused_before_anything_is_fitted(checkerboard, tmp_path, monkeypatch) -> None:
    world = worlds.checkerboard()
    days = windows_of(checkerboard[0])[-1][1]
    shown = pl.col("event_time") >= worlds.END - timedelta(days=days)
    events = world.events.with_columns(event_type=pl.when(shown).then(pl.lit("impression")).otherwise("event_type"))
    monkeypatch.setattr(ranker, "fit", None)
    with pytest.raises(TooShortError, match="nobody acted in the test window"):
        face.train(worlds.write_world(tmp_path, world.items, events))


def test_no_run_yet_says_what_to_do(tmp_path) -> None:
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path, world.items, world.events)
    with pytest.raises(ArtefactError, match="recsys train"):
        face.rank(path)


def test_users_file_that_is_not_there(checkerboard) -> None:
    with pytest.raises(SourceError, match="one user_id a line"):
        face.rank(checkerboard[0], users="nowhere.txt")


def test_long_empty_and_odd_texts_go_through(tmp_path) -> None:
    world = worlds.checkerboard()
    odd = ["x" * 50_000, "", "   ", "\U0001f600 émoji \u200b", "word " * 10_000]
    items = world.items.with_columns(
        description=pl.Series([odd[n % 5] if n < 10 else d for n, d in enumerate(world.items["description"])]),
        title=pl.Series(["" if n in (1, 2) else t for n, t in enumerate(world.items["title"])]),
    )
    path = worlds.write_world(tmp_path, items, world.events, {"text": {"distil_epochs": 1}})
    found = face.train(path).record("report")["distillation"]
    assert (found["teacher_layers"], found["student_layers"]) == (2, 1)
    assert lists_of(face.rank(path, out=tmp_path))["score"].is_finite().all()


# -- the future ----------------------------------------------------------------------------------------------------------


def known_as_of(items: pl.DataFrame, events: pl.DataFrame, as_of: datetime, users: pl.Series, settings: config.Config):
    """Candidates and features by vectors that no event has touched."""
    catalogue = Catalogue.of(items)
    pooled = np.random.default_rng(0).normal(size=(len(catalogue), 16)).astype(np.float32)
    vectors = unit(pooled, np.ones(len(catalogue), bool))
    import torch

    torch.manual_seed(0)
    side = TextSide(text.InterestModel(None, Tower(16, 0).eval(), 20), {"text": vectors}, vectors, pooled)  # type: ignore[arg-type]
    lazy = events.lazy()
    known = snapshot(lazy, catalogue, as_of, as_of + timedelta(days=14), side, settings, catalogue.categories, 2, Clock())
    return chunk(known, tables.events_of(lazy.filter(pl.col("event_time") < as_of), users), users, Clock())


def assert_same_bytes(one, two) -> None:
    assert one.pool.user.tobytes() == two.pool.user.tobytes()
    assert one.pool.item.tobytes() == two.pool.item.tobytes()
    for name in one.pool.score:
        assert one.pool.score[name].tobytes() == two.pool.score[name].tobytes(), name
        assert one.pool.rank[name].tobytes() == two.pool.rank[name].tobytes(), name
    for column in one.frame.columns:
        assert one.frame[column].to_numpy().tobytes() == two.frame[column].to_numpy().tobytes(), column


@pytest.fixture(scope="module")
def online_retail() -> tuple[pl.DataFrame, pl.DataFrame, config.Config]:
    if not (DATA / "online_retail").is_dir():
        pytest.skip("Online Retail is not in RECSYS_DATA")
    example = Path(__file__).parents[1] / "examples" / "online_retail.toml"
    settings = config_file.load(example)
    file = str(DATA / "online_retail" / "online_retail.csv.gz")
    settings = settings.model_copy(
        update={"items": settings.items.model_copy(update={"path": file}), "events": settings.events.model_copy(update={"path": file})}
    )
    made = ingest.ingest(settings, example.parent, datetime(2026, 1, 1, tzinfo=UTC))
    return made.items, made.events, settings


@pytest.mark.parametrize("day", ["2011-06-01", "2011-09-17"])
def test_dropping_the_future_of_online_retail_changes_nothing(online_retail, day: str) -> None:
    items, events, settings = online_retail
    as_of = datetime.fromisoformat(day).replace(tzinfo=UTC)
    users = events["user_id"].unique().sort()[::20]
    past = events.filter(pl.col("event_time") < as_of)
    assert past.height < events.height
    assert_same_bytes(known_as_of(items, events, as_of, users, settings), known_as_of(items, past, as_of, users, settings))


# -- the command line ------------------------------------------------------------------------------------------------------


def run_cli(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_rank_and_report_end_in_what_a_script_reads(checkerboard, tmp_path) -> None:
    path, _, run = checkerboard
    code, out, _ = run_cli("rank", "--config", str(path), "--out", str(tmp_path), "--k", "3")
    assert code == 0
    assert (Path(out.splitlines()[-1]) / "manifest.json").is_file()
    code, out, _ = run_cli("report", "--config", str(path), "--format", "json", run.run_id)
    assert code == 0
    assert json.loads(out)["run_id"] == run.run_id


def test_train_ends_in_the_run_id_alone(tmp_path) -> None:
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path, world.items, world.events)
    code, out, _ = run_cli("train", "--config", str(path))
    assert code == 0
    assert out.splitlines()[-1] == face.load_run(path).run_id


def test_check_passes_on_a_good_shop_and_fails_on_a_bad_one(checkerboard, tmp_path) -> None:
    assert run_cli("check", "--config", str(checkerboard[0]))[0] == 0
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path, world.items, world.events, {"time": {"test_days": 300}})
    code, out, err = run_cli("check", "--config", str(path))
    assert code == 1
    assert "FAIL" in out
    assert "windows" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--config", "nowhere.toml"], "recsys demo"),
        (["rank", "--as-of", "yesterday"], "is not a moment"),
        (["report", "no-such-run"], "no-such-run"),
    ],
)
def test_a_user_error_is_one_message_and_exit_2(checkerboard, arguments: list[str], says: str) -> None:
    if "--config" not in arguments:
        arguments = [*arguments, "--config", str(checkerboard[0])]
    code, _, err = run_cli(*arguments)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(main, ["--debug", "train", "--config", "nowhere.toml"])
    assert isinstance(result.exception, RecsysError)

"""The users whose lists differ most between two runs: what entered, left and moved, and what they then went for."""

import polars as pl

from recsys import evaluate
from recsys.artefacts import Home, collected
from recsys.errors import ArtefactError
from recsys.report.items import TITLE
from recsys.report.rows import MAIN, Row
from recsys.report.versus import LISTS, Versus, kept_question, of_ranker

MOST = 10


def changed(home: Home, pair: Versus, task: str, most: int = MOST) -> list[Row] | None:
    """The `most` judged users whose lists have least in common, a row each, from B's list to A's; None where a run keeps no lists.

    user_id, overlap (rank-biased, in [0, 1]), a and b (their ndcg@10), entered and left (item_id, title, rank), stayed (the same columns),
    moved (item_id, title, rank_a, rank_b), went_for (as moved, None where the list lacks it; None alone where neither run keeps what was
    asked). Users who tie stand by user_id.
    """
    if any(LISTS not in run.manifest["digests"] for run in pair):
        return None
    figures = _figures(pair, task)
    whole = [of_ranker(run, "lists", task).select("user_id", "item_id", "rank") for run in pair]
    first = evaluate.overlap_by_user(whole[0], whole[1], figures["user_id"]).sort("overlap", "user_id").head(most)
    a, b = (lists.join(first, on="user_id", how="semi") for lists in whole)
    asked = kept_question(pair, task)
    places = _beside(a, b)
    wanted = places.head(0) if asked is None else _wanted(asked, first, places)
    places, wanted = _named(home, pair, places, wanted)
    users = first.join(figures, on="user_id", how="left", maintain_order="left").iter_rows(named=True)
    return [_row(user, places, wanted, asked is not None) for user in users]


def _figures(pair: Versus, task: str) -> pl.DataFrame:
    """user_id, a, b of everybody judged in both."""
    a, b = (of_ranker(run, "per_user", task).select("user_id", MAIN) for run in pair)
    return a.rename({MAIN: "a"}).join(b.rename({MAIN: "b"}), on="user_id").sort("user_id")


def _beside(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """user_id, item_id, rank_a, rank_b (None: not in that list)."""
    key = ["user_id", "item_id"]
    return a.rename({"rank": "rank_a"}).join(b.rename({"rank": "rank_b"}), on=key, how="full", coalesce=True)


def _wanted(asked: evaluate.Question, users: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """The columns of places: what the users went for, with its places in the two lists."""
    relevant = asked.truth.filter(pl.col("label") >= asked.relevant_from).join(users, on="user_id", how="semi")
    return relevant.select("user_id", "item_id").join(places, on=["user_id", "item_id"], how="left")


def _named(home: Home, pair: Versus, *frames: pl.DataFrame) -> list[pl.DataFrame]:
    """The frames with the titles of their items, the id where there is none, or where the tables are gone."""
    ids = pl.concat([frame["item_id"] for frame in frames]).unique()
    try:
        tables = home.tables(pair.a.manifest["tables"])
        titles = collected(tables.scan("items").filter(pl.col("item_id").is_in(ids.implode())).select("item_id", TITLE), tables)
    except ArtefactError:
        titles = pl.DataFrame({"item_id": ids, "title": ids})
    return [frame.join(titles, on="item_id", how="left").with_columns(pl.col("title").fill_null(pl.col("item_id"))) for frame in frames]


def _row(user: Row, places: pl.DataFrame, wanted: pl.DataFrame, is_known: bool) -> Row:
    places, wanted = (rows.filter(pl.col("user_id") == user["user_id"]) for rows in (places, wanted))
    in_a, in_b = pl.col("rank_a").is_not_null(), pl.col("rank_b").is_not_null()
    named, both = ["item_id", "title"], ["rank_a", "rank_b"]
    went_for = wanted.sort(*both, "item_id", nulls_last=True).select(*named, *both).to_dicts()
    return {key: user[key] for key in ("user_id", "overlap", "a", "b")} | {
        "entered": places.filter(in_a & ~in_b).sort("rank_a").select(*named, rank="rank_a").to_dicts(),
        "left": places.filter(in_b & ~in_a).sort("rank_b").select(*named, rank="rank_b").to_dicts(),
        "moved": places.filter(pl.col("rank_a") != pl.col("rank_b")).sort("rank_a").select(*named, *both).to_dicts(),
        "stayed": places.filter(pl.col("rank_a") == pl.col("rank_b")).sort("rank_a").select(*named, rank="rank_a").to_dicts(),
        "went_for": went_for if is_known else None,
    }

"""docs/metrics.md is true: its worked examples are computed, and its sentences are those that the dashboard shows."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys import evaluate, metrics, report

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in PAGE.split("\n### ")[1:]}
K = int(re.search(r"Lists of k = (\d+)", PAGE)[1])
NUMBER = re.compile(r"[\d\s+*/().-]+")


def table(header: str) -> list[list[str]]:
    body = PAGE.split(f"| {header} |\n", 1)[1].split("\n\n", 1)[0].split("\n")[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def words(cell: str) -> list[str]:
    return [] if cell == "-" else cell.split()


ITEMS = table("item | had by | price | text")
ROWS = table("user | went for | list | had before")
INDEX = {row[0]: place for place, row in enumerate(ITEMS)}
HAD_BY = np.array([int(row[1]) for row in ITEMS])
EXPECTED = np.isin(np.arange(len(ITEMS)), sorted(range(len(ITEMS)), key=lambda place: (-HAD_BY[place], ITEMS[place][0]))[:K])
PRICE = np.array([0.0 if row[2] == "-" else float(row[2]) for row in ITEMS])
VECTORS = np.array([[float(x) for x in words(row[3])] or [0.0, 0.0] for row in ITEMS])
WANTED = {row[0]: {pair.split(":")[0]: int(pair.split(":")[1]) for pair in words(row[1])} for row in ROWS}
LISTED = {row[0]: words(row[2]) for row in ROWS}
HAD = {row[0]: words(row[3]) for row in ROWS}
JUDGED = [user for user, wanted in WANTED.items() if wanted]


def places(value, empty, users=JUDGED) -> np.ndarray:
    return np.array([[value(user, item) for item in LISTED[user]] + [empty] * (K - len(LISTED[user])) for user in users])


def falling(value) -> np.ndarray:
    rows = [sorted((value(item, label) for item, label in WANTED[user].items()), reverse=True)[:K] for user in JUDGED]
    return np.array([row + [0] * (K - len(row)) for row in rows])


ITEM = places(lambda user, item: INDEX[item], -1)
LABEL = places(lambda user, item: WANTED[user].get(item, 0), 0)
HITS = LABEL > 0
N_RELEVANT = np.array([len(WANTED[user]) for user in JUDGED])
WORTH = PRICE[ITEM] * (ITEM >= 0)
TOTAL = np.array([sum(PRICE[INDEX[item]] for item in WANTED[user]) for user in JUDGED])
IDEAL = falling(lambda item, label: label)
SHOWN = table("user | score | went for")
TOLD, SCORE = np.array([row[2] == "yes" for row in SHOWN]), np.array([float(row[1]) for row in SHOWN])
GROUP = np.array(["ABC".index(row[0]) for row in SHOWN])


def by_user(values: np.ndarray) -> dict[str, float]:
    defined = values[~np.isnan(values)]
    return {user: value for user, value in zip(JUDGED, values, strict=True) if not np.isnan(value)} | {"mean": defined.mean()}


def health() -> dict[str, float]:
    rows = [(user, item, rank) for user, items in LISTED.items() for rank, item in enumerate(items, 1)]
    lists = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
    found = evaluate.list_health(lists, pl.Series(list(LISTED)), K, pl.Series([item for item in INDEX if item != "x3"]))
    return {name: part["share"] for name, part in found.items() if name != "strangers"}


def classified() -> dict[str, float]:
    found = metrics.classification(TOLD, SCORE, 0.5)
    return {name: found[f"positive_{name}"] for name in ("precision", "recall", "f1")} | {"accuracy": found["accuracy"]}


COMPUTED = {
    "ndcg@k": lambda: by_user(metrics.ndcg(HITS, N_RELEVANT)),
    "ndcg_graded@k": lambda: by_user(metrics.ndcg_graded(LABEL, IDEAL, (0, 1, 2, 3))),
    "ndcg_exp@k": lambda: by_user(metrics.ndcg_exp(LABEL, IDEAL)),
    "recall@k": lambda: by_user(metrics.recall(HITS, N_RELEVANT)),
    "precision@k": lambda: by_user(metrics.precision(HITS)),
    "hit_rate@k": lambda: by_user(metrics.hit_rate(HITS)),
    "map@k": lambda: by_user(metrics.average_precision(HITS, N_RELEVANT)),
    "ap_trec@k": lambda: by_user(metrics.ap_trec(HITS, N_RELEVANT)),
    "mrr@k": lambda: by_user(metrics.reciprocal_rank(HITS)),
    "coverage@k": lambda: {"all": metrics.coverage(ITEM, len(ITEMS))},
    "gini@k": lambda: {"all": metrics.gini(ITEM, len(ITEMS))},
    "novelty@k": lambda: by_user(metrics.novelty(ITEM, HAD_BY, 8)),
    "popularity@k": lambda: by_user(metrics.popularity(ITEM, HAD_BY)),
    "serendipity@k": lambda: by_user(metrics.serendipity(HITS, ITEM, EXPECTED)),
    "ild@k": lambda: by_user(metrics.intra_list_diversity(ITEM, VECTORS)),
    "repeat_rate@k": lambda: by_user(metrics.repeat_rate(places(lambda user, item: item in HAD[user], False), ITEM)),
    "revenue@k": lambda: by_user(metrics.revenue(HITS, WORTH)),
    "revenue_ndcg@k": lambda: by_user(metrics.revenue_ndcg(HITS, WORTH, falling(lambda item, label: PRICE[INDEX[item]]))),
    "revenue_recall@k": lambda: by_user(metrics.revenue_recall(HITS, WORTH, TOTAL)),
    "health": health,
    "auc": lambda: {"all": metrics.roc_auc(TOLD, SCORE)},
    "gauc": lambda: {"all": metrics.grouped_auc(TOLD, SCORE, GROUP)["value"]},
    "classification": classified,
}


def test_the_page_has_every_metric_and_no_other() -> None:
    assert SECTIONS.keys() == COMPUTED.keys()


@pytest.mark.parametrize("name", COMPUTED)
def test_a_worked_example_is_what_the_code_computes_and_what_its_sum_comes_to(name: str) -> None:
    example = re.search(r"^Example.*?(?=\n\n)", SECTIONS[name], flags=re.MULTILINE | re.DOTALL)[0]
    told = dict(re.findall(r"(\w+) `([^`]+)`", example))
    found = COMPUTED[name]()
    assert told.keys() == found.keys()
    for who, text in told.items():
        *worked, value = text.split(" = ")
        assert found[who] == pytest.approx(float(value), abs=5e-5), who
        for expression in worked:
            assert NUMBER.fullmatch(expression)
            # The discounts in it are rounded to four digits.
            assert eval(expression) == pytest.approx(float(value), abs=1.5e-4), who


@pytest.mark.parametrize("name", COMPUTED)
def test_every_metric_has_all_its_parts(name: str) -> None:
    starts = [part.split(":")[0].split(",")[0] for part in SECTIONS[name].strip().split("\n\n")[1:]]
    parts = [start for start in starts if start in ("Formula", "Example", "Zero case", "Misleads", "Not to confuse with")]
    assert parts == ["Formula", "Example", "Zero case", "Misleads", "Not to confuse with"]


def test_the_sentences_of_the_dashboard_are_those_of_the_page_for_every_metric_of_the_verdict() -> None:
    meanings = report.meanings()
    assert meanings.keys() == {*evaluate.METRICS, "gauc"}
    for name, sentence in meanings.items():
        assert SECTIONS[name.replace("@10", "@k")].strip().split("\n\n")[0] == sentence

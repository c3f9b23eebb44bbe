"""How long the dashboard takes: to start, and for each page, over a large night.

    python -m benchmarks.dashboard_pages [--users 20000] [--k 50] [--items 10000] [--events 1500000] [--rounds 7]
    python -m benchmarks.dashboard_pages --config demo_shop/recsys.toml    # a project as it is: only how long it takes to start

Makes a project of that size with random lists, events and vectors in a temporary folder (two nights of users x k lists, two runs that
were judged on all users). Starting:
seconds from the command to a user's list on the screen of a real browser, in a process that has read nothing, and to the list of
another user after that. Pages: seconds of the script of each page (Streamlit's AppTest) in a process of its own: the first time, when
nothing has been read yet, and the median of `rounds` more in the same session, each for another user or item.
"""

import argparse
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recsys import config_file, evaluate, report
from recsys.artefacts import Home, draft
from recsys.atomic import rewrite
from recsys.caches import VectorCache
from recsys.item_text import item_texts, text_digests
from recsys.publish import Promise, publish
from recsys.schema import EVENTS, ITEMS, RECOMMENDATIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import toy_run  # type: ignore[import-not-found]

CHUNK = 512
DIM = 384
DAYS = 110
TYPES = {"impression": 0.6, "click": 0.3, "cart": 0.05, "purchase": 0.05}
EARLIER = "20261123-031500-000000"
APP = Path(__file__).parents[1] / "dashboards" / "app.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    if given.config:
        started(given.config.resolve(), Home((given.config.resolve().parent / config_file.load(given.config).project.folder).resolve()))
        return
    with tempfile.TemporaryDirectory() as folder:
        path, home = toy_run.empty_project(Path(folder))
        rng = np.random.default_rng(0)
        users, items = (np.array([f"{letter}{n:06d}" for n in range(size)]) for letter, size in (("u", given.users), ("i", given.items)))
        tables(home, rng, users, items, given.events)
        toy_run.with_run(home, run_id=EARLIER)
        toy_run.with_run(home)
        verdicts(home, rng, users, items)
        for _ in range(2):
            publish(lists(rng, users, items, given.k), toy_run.MANIFEST, home.nights, Promise(given.users, 1.0, pl.Series(items)))
        vectors(home, rng)
        night = home.night()
        print(f"{night.manifest['n_rows']:,} recommendations a night, {given.events:,} events, {given.items:,} items")
        started(path, home)
        print(f"{'page':<26} {'first':>8} {'median':>8} {'slowest':>8}")
        for name, page, address in pages(home.found(home.nights)[0][0].run_id, users, items, rng):
            measured(path, name, page, address, given.rounds)


def tables(home: Home, rng: np.random.Generator, users: np.ndarray, items: np.ndarray, n_events: int) -> None:
    """Items with texts in twelve categories, and events of which some items have far more than others."""
    seconds = rng.integers(60, DAYS * 86_400, n_events)
    kinds = np.array(list(TYPES))[rng.choice(len(TYPES), n_events, p=list(TYPES.values()))]
    events = pl.DataFrame(
        {
            "user_id": users[rng.integers(0, len(users), n_events)],
            "item_id": items[(len(items) * rng.random(n_events) ** 3).astype(int)],
            "event_type": kinds,
            "seconds": seconds,
        }
    ).with_columns(event_time=pl.lit(toy_run.AS_OF) - pl.duration(seconds="seconds"), price=pl.lit(9.5))
    words = rng.choice(["blue", "oak", "small", "garden", "lamp", "mug", "wool", "paper"], (len(items), 6))
    rows = {"item_id": items, "title": [" ".join(line[:3]) for line in words], "description": [" ".join(line) for line in words]}
    catalogue = pl.DataFrame(rows | {"category": [f"category {n % 12}" for n in range(len(items))], "price": 5.0})
    with draft(home.snapshots / "toytables", {}) as folder:
        folder.table("items", _filled(catalogue, ITEMS))
        folder.table("events", _filled(events, EVENTS).sort("user_id", "event_time"))
        folder.record("counts", {"events read": n_events, "events kept": n_events})


def _filled(frame: pl.DataFrame, table: "toy_run.Table") -> pl.DataFrame:
    absent = [pl.lit(None).alias(column.name) for column in table.columns if column.name not in frame.columns]
    return frame.with_columns(absent).select(pl.col(column.name).cast(column.dtype) for column in table.columns)


def lists(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, k: int) -> Iterator[pl.DataFrame]:
    """Chunks of random lists, as `recsys rank` publishes them."""
    for start in range(0, len(users), CHUNK):
        some = users[start : start + CHUNK]
        first = rng.integers(0, len(items), len(some))
        item = (first[:, None] + np.arange(k)[None, :] * 7) % len(items)
        columns = {
            "user_id": np.repeat(some, k),
            "item_id": items[item.ravel()],
            "rank": np.tile(np.arange(1, k + 1), len(some)),
            "score": np.tile(1 / np.arange(1, k + 1), len(some)),
            "as_of": [toy_run.AS_OF] * (len(some) * k),
            "run_id": toy_run.RUN_ID,
            "reason": "goes with recent choices",
            "click_probability": np.tile(0.1 / np.arange(1, k + 1), len(some)),
            "purchase_probability": None,
        }
        yield pl.DataFrame(columns, schema_overrides={column.name: column.dtype for column in RECOMMENDATIONS.columns}, strict=False)


def verdicts(home: Home, rng: np.random.Generator, users: np.ndarray, items: np.ndarray) -> None:
    """What both runs keep of their verdicts: every user went for three items; lists of ten at random, some of them hits."""
    n = len(users)
    wanted = {
        "user_id": np.repeat(users, 3),
        "item_id": items[(rng.integers(0, len(items), n)[:, None] + np.arange(3)).ravel() % len(items)],
    }
    kinds = {
        "item_age": ["older", "up to 28 days"],
        "item_popularity": ["head", "tail"],
        "item_category": [f"category {c}" for c in range(12)],
    }
    catalogue = {"item_id": items, "n_users": 5} | {name: rng.choice(values, len(items)) for name, values in kinds.items()}
    question = evaluate.Question(
        truth=pl.DataFrame(wanted).with_columns(label=pl.lit(1, pl.Int32)).sort("user_id", "item_id"),
        users=pl.Series("user_id", users),
        relevant_from=1,
        gains=(0.0, 1.0),
        catalogue=pl.DataFrame(catalogue),
        user_slices=pl.DataFrame({"user_id": users, "user_activity": rng.choice(["few", "many"], n)}),
        n_all_users=n,
    )
    asked = {"all": question}
    for run in (home.load(EARLIER), home.load(toy_run.RUN_ID)):
        first = rng.integers(0, len(items), n)[:, None]
        item = np.where(rng.random((n, 10)) < 0.1, rng.integers(0, len(items), (n, 10)), first + np.arange(10)) % len(items)
        rows = {"user_id": np.repeat(users, 10), "item_id": items[item.ravel()], "rank": np.tile(np.arange(1, 11, dtype=np.int32), n)}
        made = pl.DataFrame(rows).unique(["user_id", "item_id"], keep="first", maintain_order=True)
        made = made.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id"))
        named = [pl.lit("all").alias("task"), pl.lit("ranker").alias("system"), pl.all()]
        per_user = evaluate.judge({"ranker": made}, question, "ranker", 10, 0).per_user.with_columns(task=pl.lit("all"))
        kept = {"lists": made.select(named), "per_user": per_user} | evaluate.question_tables(asked)
        rewrite(run.path, {f"{name}.parquet": table for name, table in kept.items()}, {})


def vectors(home: Home, rng: np.random.Generator) -> None:
    """A random vector of every text, under the name of the run's encoder."""
    from safetensors.numpy import save_file

    digests = sorted(set(text_digests(item_texts(home.tables("toytables").table("items")))))
    VectorCache(home.caches / "vectors").add(toy_run.ENCODER, digests, rng.normal(size=(len(digests), DIM)).astype(np.float32))
    path = home.load().file("text/tower.safetensors")
    size = path.stat().st_size
    save_file({"tower.projection.weight": np.eye(DIM, dtype=np.float32)}, path)
    manifest = path.parents[1] / "manifest.json"
    manifest.write_text(
        manifest.read_text().replace(f'"text/tower.safetensors": {size}', f'"text/tower.safetensors": {path.stat().st_size}')
    )


def pages(other: str, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> list[tuple[str, str, dict[str, object]]]:
    """name, page, its address: a list of values stands for one of them a round."""
    some, things = list(map(str, rng.choice(users, 50))), list(map(str, rng.choice(items, 50)))
    return [
        ("users, nobody chosen", "users", {}),
        ("users, one", "users", {"user": some}),
        ("users, beginning of an id", "users", {"user": [one[:5] for one in some]}),
        ("users, two nights", "users", {"user": some, "with": other}),
        ("users, somebody new", "users", {"who": "Somebody new", "chosen": things}),
        ("metrics", "metrics", {}),
        ("metrics, runs over time", "metrics", {"part": "Runs over time"}),
        ("compare, metrics", "compare", {"part": "Metrics"}),
        ("compare, slices", "compare", {"part": "Slices"}),
        ("compare, users", "compare", {"part": "Users"}),
        ("compare, config", "compare", {"part": "Config"}),
        ("compare, data", "compare", {"part": "Data"}),
        ("compare, features", "compare", {"part": "Features"}),
        ("items, map", "items", {}),
        ("items, one", "items", {"item": things}),
        ("items, words", "items", {"item": ["blue oak", "wool", "garden lamp", "small mug"]}),
        ("items, new", "items", {"look": "New items"}),
        ("items, most listed", "items", {"look": "Most listed"}),
        ("nights", "nights", {}),
        ("data, volumes", "data", {}),
        ("data, checks", "data", {"about": "Checks"}),
    ]


def measured(path: Path, name: str, page: str, address: dict[str, object], rounds: int) -> None:
    """One line: the first time in a process of its own, and the median of more."""
    command = [sys.executable, "-W", "ignore", "-c", ROUNDS, str(path), page, repr(address), str(rounds)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}).stdout
    first, *more = map(float, said.split())
    print(f"{name:<26} {first:>8.2f} {statistics.median(more):>8.2f} {max(more):>8.2f}", flush=True)


ROUNDS = """
import sys, time
path, page, address, rounds = sys.argv[1:]
sys.argv = ["app.py", path]
from pages import APP, PAGES, AppTest
AppTest.from_string("import streamlit, altair, pandas, scipy.sparse").run()
app = AppTest.from_file(APP, default_timeout=120)
if page != "users":
    app.query_params["user"] = "nobody"  # so that the pages are known and hardly anything is read
    app.run()
    app.switch_page(PAGES[page])
    app.query_params.clear()
for n in range(int(rounds) + 1):
    for name, value in eval(address).items():
        chosen = value[n % len(value)] if isinstance(value, list) else value
        if n and name in ("user", "item"):
            app.text_input(key=name).set_value(chosen)
        else:
            app.query_params[name] = chosen
    begun = time.perf_counter()
    app.run()
    assert not app.exception and not app.error, (app.exception, app.error)
    print(time.perf_counter() - begun)
"""


def started(path: Path, home: Home) -> None:
    """From the command to a user's list in a browser, and from there to another user's."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not (chromium and importlib.util.find_spec("playwright")):
        print("start: not measured, playwright or chromium is not here")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        rows = [one_start(browser, path, *report.active_users(home, home.night(), 2)) for _ in range(3)]
        browser.close()
    up, shown, then = (statistics.median(each) for each in zip(*rows, strict=True))
    print(f"start: the server answers after {up:.2f} s, a list is on the screen after {shown:.2f} s, another user's {then:.2f} s later")


def one_start(browser: object, path: Path, user: str, other: str) -> tuple[float, float, float]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.address", "127.0.0.1"]
    page = browser.new_page(viewport={"width": 1400, "height": 1000})  # type: ignore[attr-defined]
    begun = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--server.headless", "true", "--", str(path)], cwd=path.parent, **quiet) as server:  # type: ignore[call-overload]
        try:
            address = f"http://127.0.0.1:{port}"
            while not answers(f"{address}/_stcore/health"):
                time.sleep(0.02)
            up = time.perf_counter() - begun
            page.goto(f"{address}/?user={user}")
            page.locator(".list:not(.dated) .row").first.wait_for(timeout=60_000)
            shown = time.perf_counter() - begun
            field = page.get_by_role("textbox").first
            before = page.locator(".list:not(.dated) .title").first.inner_text(), time.perf_counter()
            field.fill(other)
            field.press("Enter")
            page.wait_for_function("old => document.querySelector('.list:not(.dated) .title')?.innerText !== old", arg=before[0])
            return up, shown, time.perf_counter() - before[1]
        finally:
            server.terminate()
            page.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()

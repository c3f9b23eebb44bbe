"""MovieLens ratings as a folder for the leave-one-out benchmark: what each user rated 4 or higher, in order, and the films' texts.

python -m benchmarks.movies_export ../shared/data/movies /tmp/movies
python -m benchmarks.leave_one_out /tmp/movies
"""

import argparse
from pathlib import Path

import polars as pl

POSITIVE = 4.0
"""Stars from which a rating speaks for a film, as usual with this data."""


def main() -> None:
    """Write items.parquet(item_id, text) and events.parquet(user_id, item_id, pos)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    films = pl.read_csv(given.source / "movies.csv.gz", infer_schema_length=10_000)
    ratings = pl.read_csv(given.source / "ratings.csv.gz", infer_schema_length=10_000)
    genres = pl.col("genres").str.replace_all("|", " ", literal=True)
    text = pl.concat_str("title", genres, pl.col("overview"), separator=". ", ignore_nulls=True)
    items = films.select(item_id=pl.col("movieId").cast(pl.String), text=text)
    liked = ratings.filter(pl.col("rating") >= POSITIVE).sort("userId", "timestamp", "movieId")
    events = liked.select(
        user_id=pl.col("userId").cast(pl.String),
        item_id=pl.col("movieId").cast(pl.String),
        pos=pl.int_range(pl.len()).over("userId"),
    ).join(items, on="item_id", how="semi", maintain_order="left")
    given.folder.mkdir(parents=True, exist_ok=True)
    items.write_parquet(given.folder / "items.parquet")
    events.write_parquet(given.folder / "events.parquet")
    print(f"{given.folder}: {items.height:,} films, {events.height:,} ratings of {events['user_id'].n_unique()} users")


if __name__ == "__main__":
    main()

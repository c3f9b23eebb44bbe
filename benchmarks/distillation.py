"""What a student of half the layers loses in ndcg and gains in speed against its teacher, the packaged MiniLM or any encoder.

    python -m benchmarks.distillation [--folder ../shared/data/amazon_toys] [--encoder FOLDER] [--epochs 3]

Leave-one-out on a folder with items.parquet(item_id, text) and events.parquet(user_id, item_id, pos): the mean of the unit vectors
of the last five items before the last one ranks the whole catalogue, less what the user had before; the last item is the answer.
The student learns from the texts alone. `half, copied` is where it starts: the same layers, not trained. Speed is a ratio of
CPU seconds of encoding the same texts on one thread, the median over rounds in which the encoders take turns.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.positions import in_order, nearest_text
from recsys.evaluate.intervals import compare
from recsys.text import MINILM, Encoder, Inputs, distil, find_encoder

BOOTSTRAP, TIMED_TEXTS, ROUNDS, SEED = 1000, 500, 7, 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/amazon_toys"))
    parser.add_argument("--encoder", default=MINILM)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.folder / "items.parquet").is_file():
        print(f"skipped: there is no {arguments.folder / 'items.parquet'}; name a folder with --folder")
        return
    torch.set_num_threads(1)
    items, histories = in_order(arguments.folder)
    encoders, inputs, vectors = taught(items["text"].to_list(), arguments.encoder, arguments.epochs)
    per_user = {name: {"ndcg@10": nearest_text(vectors[name], histories)} for name in encoders}
    table(encoders, inputs, vectors, per_user)


def taught(texts: list[str], name: str, epochs: int) -> tuple[dict[str, Encoder], Inputs, dict[str, np.ndarray]]:
    teacher = Encoder(find_encoder(name, Path.cwd()), "mean", 64, 0, 4096)
    inputs = teacher.tokens(texts)
    vectors = {"teacher": teacher.encode(inputs, quiet)}
    rows = np.unique(np.array(texts), return_index=True)[1]
    encoders = {"teacher": teacher}
    for student, passes in (("half, copied", 0), ("student", epochs)):
        begun = time.perf_counter()
        encoders[student] = distil(teacher, inputs, vectors["teacher"], rows, passes, SEED, quiet)
        print(f"{student}: {passes} passes over {len(rows):,} texts, {time.perf_counter() - begun:.0f} s", flush=True)
        vectors[student] = encoders[student].encode(inputs, quiet)
    return encoders, inputs, vectors


def table(encoders: dict[str, Encoder], inputs: Inputs, vectors: dict[str, np.ndarray], per_user: dict[str, dict[str, np.ndarray]]) -> None:
    speed, gain = speeds(encoders, inputs)
    print(f"{'':<14}{'layers':>7} {'cosine':>7} {'ndcg@10':>24} {'minus teacher':>27} {'better/tied/worse':>20} {'texts/s':>8} {'x':>6}")
    for name, encoder in encoders.items():
        figures, paired = compare(per_user, name, ("ndcg@10",), BOOTSTRAP, SEED)
        figure = figures[name]["ndcg@10"]
        against = next((pair for pair in paired if pair.b == "teacher"), None)
        loss = f"{against.difference:+.4f} [{against.low:+.4f}, {against.high:+.4f}]" if against else "-"
        users = f"{against.better:,}/{against.tied:,}/{against.worse:,}" if against else "-"
        near = (unit(vectors[name]) * unit(vectors["teacher"])).sum(axis=1).mean()
        value = f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"
        layers = len(encoder.model.encoder.layer)
        cells = f"{name:<14}{layers:>7} {near:>7.4f} {value:>24} {loss:>27} {users:>20}"
        print(f"{cells} {speed[name]:>8.0f} {gain[name]:>6.2f}")
    print(f"{len(per_user['teacher']['ndcg@10']):,} users, {len(inputs):,} texts")


def speeds(encoders: dict[str, Encoder], inputs: Inputs) -> tuple[dict[str, float], dict[str, float]]:
    """Of each encoder, medians over the rounds: texts a CPU second, and that as a multiple of the teacher's in the same round."""
    rows = np.random.default_rng(SEED).permutation(len(inputs))[:TIMED_TEXTS]
    rounds = [{name: cpu_seconds(encoder, inputs, rows) for name, encoder in encoders.items()} for _ in range(ROUNDS)]
    speed = {name: len(rows) / median(one[name] for one in rounds) for name in encoders}
    return speed, {name: median(one["teacher"] / one[name] for one in rounds) for name in encoders}


def cpu_seconds(encoder: Encoder, inputs: Inputs, rows: np.ndarray) -> float:
    begun = time.process_time()
    encoder.encode(inputs, quiet, rows)
    return time.process_time() - begun


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def quiet(*_: object) -> None:
    pass


if __name__ == "__main__":
    main()

"""Several workers train as one does: the same model, one run, one voice."""

import builtins
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from worlds import checkerboard, write_world

import recsys
from recsys.errors import ModelError
from recsys.text.workers import Workers, workers

SHORT = {
    "text": {"tune": "adalora", "learning_rate": 0.1, "warm_steps": 0, "steps": 12, "check_steps": 3, "push_items": 15, "blend_steps": 5},
    "ranker": {"trees": 5},
}
"""An adapter has all that can go wrong: a penalty that must count once, figures that run along, a merge. 15 items: unequal parts."""


def test_two_workers_started_by_accelerate_train_what_one_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    world = checkerboard()
    alone, shared = (write_world(tmp_path / name, world.items, world.events, SHORT) for name in ("alone", "shared"))
    one = recsys.train(alone)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    done = subprocess.run([*launch, "-m", "recsys.cli", "train", "--config", str(shared)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    two = recsys.load_run(shared)
    assert done.stdout.splitlines()[-1] == two.run_id
    assert (done.stdout.count("Time and memory"), len(re.findall("^window text", done.stderr, re.MULTILINE))) == (1, 1)
    assert sorted(path.suffix for path in left_behind(alone)) == sorted(path.suffix for path in left_behind(shared))
    assert two.record("chosen") == one.record("chosen")
    assert one.record("chosen")["steps"] > 0
    start = load_file(alone.parent / "tiny_bert" / "model.safetensors")
    for name in ("text/encoder/model.safetensors", "text/tower.safetensors"):
        expected, found = load_file(one.file(name)), load_file(two.file(name))
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, atol=1e-5, rtol=1e-5)
        assert "tower" in name or any(not torch.allclose(tensor, start[key], atol=1e-3) for key, tensor in expected.items())


def left_behind(config: Path) -> list[Path]:
    """Every file and folder that a training left behind."""
    return list((config.parent / "runs").rglob("*"))


def test_every_row_is_in_the_part_of_one_worker() -> None:
    class Third:
        num_processes, device = 3, torch.device("cpu")

        def __init__(self, index: int) -> None:
            self.process_index = index

    rows = np.array([5, 3, 9, 1])
    parts = [Workers(Third(index)).share(rows) for index in range(3)]
    assert sorted(np.concatenate(parts)) == sorted(rows)
    assert [len(part) for part in parts] == [2, 1, 1]


def test_one_worker_needs_no_accelerate_and_several_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("accelerate"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (workers.__wrapped__().n, workers.__wrapped__().is_main) == (1, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match=r"recsys\[accelerate\]"):
        workers.__wrapped__()

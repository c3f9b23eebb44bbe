"""What several test files start from."""

from pathlib import Path

import pytest

from recsys.config import Tracking
from recsys.tracking import track


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db with its tables made: making them takes seconds."""
    home = tmp_path_factory.mktemp("store")
    with track(Tracking(), home, "template", "template"):
        pass
    return home / "mlflow.db"

"""The wheel alone is enough: every file of the packages is in it, and the tour and the dashboard start from it, far from the source."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from toy_run import empty_project, with_night, with_run

ROOT = Path(__file__).parents[1]
PACKAGES = ("recsys", "feature_store", "dashboards")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, in a folder of its own, as an installer lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building writes beside the source: a copy, so that the project stays as it is
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *PACKAGES):
        os.symlink(ROOT / name, source / name)
    build = "import os, sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = folder / "site"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def python(installed: Path, code: str, cwd: Path) -> str:
    """Run code with the wheel's packages before all others, away from the source."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else_is(installed: Path) -> None:
    def held(folder: Path) -> set[str]:
        files = (path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)) for path in files if "__pycache__" not in path.parts}

    assert held(installed) == held(ROOT)
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == set(PACKAGES)


def test_the_dashboard_opens_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    with_run(home)
    with_night(home)
    code = f"""
import sys
from pathlib import Path
import dashboards
from streamlit.testing.v1 import AppTest
app = Path(dashboards.__file__).with_name("app.py")
assert app.is_relative_to({str(installed)!r}), app
sys.argv = ["app.py", {str(path)!r}]
test = AppTest.from_file(str(app), default_timeout=60).run()
assert not test.exception, test.exception
print(len(test.main))
"""
    assert int(python(installed, code, tmp_path).splitlines()[-1]) > 0


def test_the_demo_shop_is_written_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = f"""
import recsys
assert recsys.__file__.startswith({str(installed)!r}), recsys.__file__
from pathlib import Path
from recsys.demo import write_shop
write_shop(Path("shop"), n_items=60, n_users=20, n_days=30)
from recsys import config_file
print(config_file.load(Path("shop/recsys.toml")).project.name)
"""
    assert python(installed, code, tmp_path) == "demo"

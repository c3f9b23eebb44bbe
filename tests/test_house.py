"""The house keeps its own rules: what the README says is so, and the folder mlflow/ stays harmless."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from recsys import config_file
from recsys.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def modules() -> list[Path]:
    return [path for package in ("recsys", "feature_store", "dashboards") for path in sorted((ROOT / package).rglob("*.py"))]


def test_the_readme_names_every_file_of_the_packages_and_no_other() -> None:
    listed = set(re.findall(r"^ *([\w/]+\.py)\b", section("The files"), flags=re.MULTILINE))
    assert listed == {str(path.relative_to(ROOT)) for path in modules() if path.name != "__init__.py"}


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `recsys (\w+)` \| (.+?) \|$", section("The commands"), flags=re.MULTILINE))
    assert rows.keys() == main.commands.keys()


def test_every_command_has_help_with_an_example() -> None:
    for name, command in main.commands.items():
        text = command.get_help(click.Context(command, info_name=name))
        assert "Example:" in text, name


def test_the_config_table_is_that_of_the_code() -> None:
    written = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.*?) \| (.+?) \|$", (ROOT / "docs" / "config.md").read_text(), flags=re.MULTILINE)
    expected = [(key, default if default == "required" else f"`{default}`", *rest) for key, default, *rest in config_file.describe()]
    assert written == [(k, d, r.replace("|", "\\|"), m) for k, d, r, m in expected]


def test_the_mlflow_folder_holds_no_python() -> None:
    # One __init__.py here would shadow the installed mlflow for anyone who stands in this folder.
    assert not list((ROOT / "mlflow").rglob("*.py"))
    assert {"README.md", "MLproject"} <= {path.name for path in (ROOT / "mlflow").iterdir()}


def test_mlflow_still_imports_the_real_one_from_here() -> None:
    code = "import importlib.util as u; print(u.find_spec('mlflow').origin)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "site-packages" in found


def test_packages_are_explicit_and_take_no_namespaces() -> None:
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert find == {"include": ["recsys*", "feature_store*", "dashboards*"], "namespaces": False}


def test_no_file_is_longer_than_350_lines() -> None:
    assert not [str(path) for path in modules() if len(path.read_text().splitlines()) > 350]


def test_nothing_is_pickled() -> None:
    pickled = re.compile(r"^\s*(import|from) (pickle|joblib|dill|cloudpickle)\b|\btorch\.(save|load)\(", flags=re.MULTILINE)
    assert not [str(path) for path in modules() if pickled.search(path.read_text())]


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "lightgbm", "mlflow", "streamlit", "polars", "pandas")
    code = f"import sys, recsys.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("name", ["train", "rank", "suggest", "load_run"])
def test_the_python_face_is_lazy_and_documented(name: str) -> None:
    import recsys

    assert name in recsys.__all__
    assert getattr(recsys, name).__doc__

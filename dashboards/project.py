"""Which project the dashboard shows, and what it says where something is not there yet."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from recsys import config_file
from recsys.artefacts import Home, Run
from recsys.errors import ArtefactError, ConfigError

STYLE = """<style>
.block-container {padding-top: 4rem; max-width: 1500px;}
[data-testid="stAppDeployButton"] {display: none;}
.list {display: grid; gap: 0;}
.list .row {display: grid; grid-template-columns: 2.2rem 1fr auto; gap: .25rem .75rem; align-items: center; padding: .45rem .25rem;
  border-bottom: 1px solid rgba(128, 128, 128, .22);}
.list .row:last-child {border-bottom: none;}
.list .rank {font-variant-numeric: tabular-nums; font-weight: 600; text-align: right; color: #3b82f6;}
.list .title {font-weight: 600; line-height: 1.3; overflow-wrap: anywhere;}
.list .below {font-size: .84rem; opacity: .72; overflow-wrap: anywhere;}
.list .price {font-variant-numeric: tabular-nums; font-weight: 600; text-align: right;}
.list .category {border: 1px solid rgba(128, 128, 128, .45); border-radius: .6rem; padding: 0 .45rem; margin-right: .4rem;}
</style>"""


@dataclass(frozen=True)
class Project:
    """The project of one recsys.toml."""

    name: str
    path: Path
    home: Home

    def command(self, name: str) -> str:
        """The command line that does `name` for this project."""
        return f"recsys {name} --config {self.path}"


def project() -> Project:
    """The project whose recsys.toml was named after `--`, or found upwards from here; where there is none, the page says so and stops."""
    try:
        path = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else config_file.find(Path.cwd())
        settings = config_file.load(path)
    except ConfigError as error:
        st.error(str(error))
        st.stop()
    return Project(settings.project.name, path, Home((path.parent / settings.project.folder).resolve()))


def current_run(home: Home) -> Run | None:
    """The current run; None where there is none, or where it cannot be read: then the page says why."""
    return None if home.current() is None else _opened(home.load)


def served_night(home: Home) -> Run | None:
    """The night that is served; None as in `current_run`."""
    return None if not home.nights.is_dir() else _opened(home.night)


def _opened(load: Callable[[], Run]) -> Run | None:
    try:
        return load()
    except ArtefactError as error:
        st.error(str(error))
        return None


def nothing_yet(what: str, project: Project, command: str) -> None:
    """Say what is not there yet and which command makes it."""
    st.info(f"{what} Make it with `recsys {command}`:", icon=":material/info:")
    st.code(project.command(command), language="bash")

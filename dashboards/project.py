"""Which project the dashboard shows, what of it was read already, and what a page says where something is not there yet."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dashboards.pieces import message
from recsys import config_file, report
from recsys.artefacts import Home, Run
from recsys.errors import ArtefactError, ConfigError
from recsys.report import TextVectors, Versus


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
        st.error(message(error))
        st.stop()
    return Project(settings.project.name, path, Home((path.parent / settings.project.folder).resolve()))


def current_run(home: Home) -> Run | None:
    """The current run; None where there is none, or where it cannot be read: then the page says why."""
    return None if home.current() is None else _opened(home.load)


def served_night(home: Home) -> Run | None:
    """The night that is served; None as in `current_run`."""
    return None if home.served() is None else _opened(home.night)


def _opened(load: Callable[[], Run]) -> Run | None:
    try:
        return load()
    except ArtefactError as error:
        st.error(message(error))
        return None


def nothing_yet(what: str, here: Project, command: str) -> None:
    """Say what is not there yet and which command makes it."""
    st.info(f"{what} Run `recsys {command}`:", icon=":material/info:")
    st.code(here.command(command), language="bash", wrap_lines=True)


def choose_night(here: Project, served: Run | None) -> Run | None:
    """The night to look at, in the address as `?night=`: the served one, or another complete one. None where there is none."""
    known = [night.run_id for night in here.home.found(here.home.nights)[0]][::-1]
    if not known:
        return None
    first = known.index(served.run_id) if served and served.run_id in known else 0
    chosen = st.selectbox("Night", known, index=first, key="night", bind="query-params") if len(known) > 1 else known[0]
    if served is None or chosen != served.run_id:
        st.caption("Not the night that is served." if served else "No night is served.")
    return here.home.night(chosen)


# A run or night never changes once it is complete: its manifest, which holds the digests of its files, says which it is.
def _key(run: Run) -> object:
    return str(run.path), json.dumps(run.manifest, sort_keys=True)


KEYS: dict[Any, Callable[[Any], object]] = {
    Run: _key,
    Versus: lambda pair: (_key(pair.a), _key(pair.b)),
    Home: lambda home: str(home.folder),
}


def kept(read: Callable[..., Any], words: str | bool = False, entries: int = 4) -> Callable[..., Any]:
    """The same function, that reads once what it is asked again for. Results are shared by all readers: nobody writes into them."""
    return st.cache_resource(read, hash_funcs=KEYS, show_spinner=words, max_entries=entries)


items_of = kept(report.items_of, "Reading the items ...")
listed = kept(report.listed, "Counting lists ...")
active_users = kept(report.active_users)
volumes_frame = kept(report.volumes_frame, "Counting events ...")
_text_vectors = kept(report.text_vectors, "Reading the vectors ...", entries=2)
choices = kept(report.Choices.of, "Reading who liked what ...", entries=2)
obstacles = kept(report.obstacles)
judged = kept(report.judged, "Comparing users ...")
sliced = kept(report.sliced, "Comparing slices ...")
changed = kept(report.changed, "Comparing lists ...")
table_rows = kept(report.table_rows, "Counting events ...")
runs_frame = kept(report.runs_frame, "Reading the reports ...")


def vectors_of(home: Home, source: Run) -> TextVectors:
    """The vectors of the items that a run or night stands on, as its run reads them. Raises ArtefactError where there are none."""
    vectors: TextVectors = _text_vectors(home, home.load(source.manifest["run_id"]), home.tables(source.manifest["tables"]))
    return vectors

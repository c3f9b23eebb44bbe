"""The decisions of the promotion gate, written where the models are: as tags of a version, whole as `gate.json` of its run."""

from collections.abc import Mapping
from typing import Any

from recsys.tracking import store
from recsys.tracking.entries import found_versions
from recsys.tracking.registry import Place

DECISION, SENTENCE, FORCED, MADE = "recsys.gate", "recsys.gate.sentence", "recsys.gate.forced", "recsys.gate.made"
"""Tags of a version. MADE comes last: where it says the moment of a decision, all of it is there."""

LONGEST = 1000
"""Characters of a tag's value, well within what any store takes."""


def write_decisions(place: Place, decisions: Mapping[str, dict[str, Any]]) -> list[str]:
    """Write what the versions do not say yet, by run id; says what was written, a line each. A run without a version is passed over."""
    if not decisions:
        return []
    versions = found_versions(place, f"name = '{place.name}'")
    new = [(version, decisions.get(version.tags.get(store.RUN_ID, ""))) for version in versions]
    return [_write(place, version, said) for version, said in new if said and version.tags.get(MADE) != said.get("made")]


def _write(place: Place, version: Any, said: dict[str, Any]) -> str:
    place.client.log_dict(version.run_id, said, "gate.json")
    what = "forced" if said["forced"] and said["decision"] == "refused" else said["decision"]
    tags = {DECISION: what, SENTENCE: said.get("sentence", ""), FORCED: said["forced"] or "", MADE: said.get("made", "")}
    for name, value in tags.items():
        place.client.set_model_version_tag(place.name, version.version, name, value[:LONGEST])
    return f"registry: version {version.version}, run {said.get('challenger')}: {what} is written there"

"""recsys.toml on disk: found, read, checked, every fault told at once; and the table of its keys."""

import json
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from recsys.config import Config
from recsys.config_tables import Section
from recsys.errors import ConfigError, nearest

FILE_NAME = "recsys.toml"


def parse(values: dict[str, Any], where: str) -> Config:
    """A Config out of nested dicts. Raises ConfigError listing every fault at once, each with its place."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = [line for fault in error.errors() for line in _fault_lines(dict(fault))]
        raise ConfigError(f"{where}: {len(faults)} fault{'s' * (len(faults) > 1)}\n" + "\n".join(f"  {line}" for line in faults)) from None


def _fault_lines(fault: dict[str, Any]) -> list[str]:
    place, kind = ".".join(str(part) for part in fault["loc"]), fault["type"]
    if kind == "extra_forbidden":
        return [f"{place}: no such key{nearest(str(fault['loc'][-1]), _keys_at(fault['loc'][:-1]))}"]
    if kind == "missing":
        return [f"{place}: is missing and has no default"]
    if kind == "value_error":
        return str(fault["ctx"]["error"]).split("\n")
    return [f"{place}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"]


def _keys_at(place: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in place:
        if part in model.model_fields:
            field = model.model_fields[part]
            model = field.annotation if _is_section(field.annotation) else _section_of_each(field) or model
    return list(model.model_fields)


def _is_section(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _section_of_each(field: FieldInfo) -> type[Section] | None:
    """What stands under each name of a table of tables, as events.types."""
    of_each = next(iter(get_args(field.annotation)[1:]), None)
    return of_each if _is_section(of_each) else None


def load(path: Path) -> Config:
    """Read and check a recsys.toml. Raises ConfigError when it is absent, not TOML, or wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Name one with --config, or make a shop to look at with `recsys demo`.") from None
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: cannot be read: {fault}. Name a file that this user may read with --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}. Mend the line named.") from None
    return parse(values, str(path))


def find(start: Path) -> Path:
    """The recsys.toml in `start` or the nearest folder above it. Raises ConfigError when there is none."""
    for folder in [start, *start.parents]:
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(f"no {FILE_NAME} in {start} or above it. Name one with --config, or make a shop to look at with `recsys demo`.")


def flat(values: dict[str, object], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested dicts as one, keys joined with dots; what is no plain value as text."""
    out: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out |= flat(value, f"{name}.")
        else:
            out[name] = value if isinstance(value, str | int | float | bool) else str(value)
    return out


def describe() -> list[tuple[str, str, str, str]]:
    """Every field as (key, default, range, meaning), in pipeline order."""
    rows = []
    for section, field in Config.model_fields.items():
        model = field.annotation
        assert _is_section(model)
        rows += _rows(section, model)
        of_each = {name: found for name, f in model.model_fields.items() if (found := _section_of_each(f))}
        for name, found in of_each.items():
            rows += _rows(f"{section}.{name}.X", found)
    return rows


def _rows(place: str, model: type[Section]) -> list[tuple[str, str, str, str]]:
    return [(f"{place}.{name}", _default(f), _range(f), f.description or "") for name, f in model.model_fields.items()]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, dict) and any(isinstance(part, Section) for part in value.values()):
        return "see below"
    return json.dumps(value if not isinstance(value, tuple) else list(value))


def _range(field: Any) -> str:
    choices = get_args(field.annotation) if getattr(field.annotation, "__origin__", None) is Literal else ()
    if choices:
        return " or ".join(str(c) for c in choices)
    marks = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
    bounds = [(type(bound).__name__, bound) for bound in field.metadata]
    return ", ".join(f"{marks[name]} {getattr(bound, name.lower())}" for name, bound in bounds if name in marks)

"""The space of a search: for some settings of a section of the config, a range of numbers or a list of choices.

`[low, high]`, two numbers, is a range, both ends included; one that spans a factor of ten or more is drawn on a log scale.
Anything else is a list of choices: three or more numbers, or two or more words.
"""

from pydantic import BaseModel, ValidationError

from recsys.errors import nearest

Value = bool | int | float | str
Space = dict[str, tuple[Value, ...]]

LOG_FACTOR = 10


def is_range(values: tuple[Value, ...]) -> bool:
    """Two numbers are a range; anything else is a list of choices."""
    return len(values) == 2 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def is_log(low: float, high: float) -> bool:
    """Is a range drawn on a log scale."""
    return low > 0 and high >= LOG_FACTOR * low


def holds(values: tuple[Value, ...], value: Value) -> bool:
    """Is `value` in the range, or one of the choices."""
    return float(values[0]) <= float(value) <= float(values[1]) if is_range(values) else value in values


def checked(place: str, section: type[BaseModel], given: Space, closed: tuple[str, ...]) -> Space:
    """The space with each value as `section` reads it. Raises ValueError with a line a fault: an unknown setting or one of `closed`,
    a value that the section refuses, an empty range, a single choice.
    """
    known = [name for name in section.model_fields if name not in closed]
    read, faults = {}, []
    for name, values in given.items():
        if name not in known:
            faults.append(f"{place}.{name}: no such setting to search{nearest(name, known)}")
            continue
        try:
            read[name] = tuple(getattr(section.model_validate({name: value}), name) for value in values)
        except ValidationError as error:
            first = error.errors()[0]
            faults.append(f"{place}.{name}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}")
            continue
        faults += _shape_faults(f"{place}.{name}", read[name])
    if faults:
        raise ValueError("\n".join(faults))
    return read


def _shape_faults(place: str, values: tuple[Value, ...]) -> list[str]:
    if len(set(values)) < 2 or len(set(values)) < len(values):
        return [f"{place}: is {list(values)}; give [low, high], or two or more different choices"]
    if is_range(values) and float(values[0]) > float(values[1]):
        return [f"{place}: is {list(values)}, whose low end is above its high end; give [low, high]"]
    return []

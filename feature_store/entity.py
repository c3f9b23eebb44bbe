"""An entity is what a feature is about: a name, and the key columns that tell one from another."""

from dataclasses import dataclass

from feature_store.errors import ViewError


@dataclass(frozen=True)
class Entity:
    """`Entity("machine", ("machine_id",))`, or a pair: `Entity("machine_part", ("machine_id", "part_id"))`.

    Raises ViewError where there is no key, or one twice.
    """

    name: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise ViewError(f"entity {self.name!r}: keys are {self.keys!r}. Give at least one key column, and none twice.")

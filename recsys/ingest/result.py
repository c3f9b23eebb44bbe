"""What a named check says."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "WARN", "FAIL"]

N_EXAMPLES = 3


@dataclass(frozen=True)
class CheckResult:
    """One named check: `count` rows (or ids, or days) it speaks of, and the first of them."""

    name: str
    status: Status
    count: int
    message: str
    examples: tuple[str, ...]

"""Where the nightly lists go: a folder of Parquet, and from there any other sink. All of a night is served or nothing; last night's stays.

A night is written and read back; every sink stages it beside what it serves and reads that back too; then each switches, in one step.
"""

from recsys.publish.hard import Hard, Rest
from recsys.publish.night import Look, publish
from recsys.publish.parts import PARTS, REFUSED, WHY, Night, Promise
from recsys.publish.sink import Sink

__all__ = ["PARTS", "REFUSED", "WHY", "Hard", "Look", "Night", "Promise", "Rest", "Sink", "publish"]

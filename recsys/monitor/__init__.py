"""What changes from night to night: pure functions from what two nights keep of themselves to measures, and measures to WARN and FAIL."""

from recsys.monitor.exposition import Gauge, exposition
from recsys.monitor.grid import Grid, psi
from recsys.monitor.lists import changed_places
from recsys.monitor.readings import Reading, read, table_of
from recsys.monitor.surges import reactions, surges, volumes
from recsys.monitor.topics import topic_names, topics
from recsys.monitor.vectors import changed_vectors, neighbours_lost, probes

__all__ = [
    "Gauge",
    "Grid",
    "Reading",
    "changed_places",
    "changed_vectors",
    "exposition",
    "neighbours_lost",
    "probes",
    "psi",
    "reactions",
    "read",
    "surges",
    "table_of",
    "topic_names",
    "topics",
    "volumes",
]

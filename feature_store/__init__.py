"""Point-in-time features: what was known about an entity at a moment, and nothing of what came at or after it."""

from feature_store.entity import Entity
from feature_store.errors import FeatureStoreError, ViewError
from feature_store.store import FeatureStore
from feature_store.view import Count, Feature, FeatureView, Last, Mean, SinceFirst, SinceLast, Sum

__all__ = [
    "Count",
    "Entity",
    "Feature",
    "FeatureStore",
    "FeatureStoreError",
    "FeatureView",
    "Last",
    "Mean",
    "SinceFirst",
    "SinceLast",
    "Sum",
    "ViewError",
]

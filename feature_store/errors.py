"""Errors of the feature store.

FeatureStoreError
└── ViewError     a view, a feature or an entity is declared wrongly, or a table does not fit its declaration
"""


class FeatureStoreError(Exception):
    """Base of every error the feature store raises."""


class ViewError(FeatureStoreError):
    """A view is declared wrongly, or the table given for it lacks a column or has one of the wrong type."""

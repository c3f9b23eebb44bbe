"""Trainings written down, and their models registered, in MLflow. The only package that names mlflow."""

from recsys.tracking.outdated import remove_outdated
from recsys.tracking.registry import Served
from recsys.tracking.settling import Registry, Standing, settle
from recsys.tracking.tracker import MlflowTracker, NoTracker, Tracker, track

__all__ = ["MlflowTracker", "NoTracker", "Registry", "Served", "Standing", "Tracker", "remove_outdated", "settle", "track"]

"""The code of a registered model: MLflow copies this file into the model, and runs it to load it."""

from recsys.pipeline.answering import Answers
from recsys.tracking.recommender import serve

serve(Answers)

"""Text to interest: an encoder fine-tuned on clicks and purchases, a user as attention over what they did, and their score."""

from recsys.item_text import item_texts
from recsys.text.checkpoint import Checkpoint
from recsys.text.distil import Distilled, compared, distil, student_layers
from recsys.text.encoder import Encoder
from recsys.text.fitted import Fitted, OnCheck, Question, check_ndcg
from recsys.text.inputs import Inputs
from recsys.text.int8 import require_onnx
from recsys.text.model import InterestModel, mean_of_history
from recsys.text.template import encoder_texts, text_groups
from recsys.text.tiny import write_tiny_bert
from recsys.text.training import Training
from recsys.text.tuning import Way
from recsys.text.weights import MINILM, find_encoder
from recsys.text.workers import workers

__all__ = [
    "MINILM",
    "Checkpoint",
    "Distilled",
    "Encoder",
    "Fitted",
    "Inputs",
    "InterestModel",
    "OnCheck",
    "Question",
    "Training",
    "Way",
    "check_ndcg",
    "compared",
    "distil",
    "encoder_texts",
    "find_encoder",
    "item_texts",
    "mean_of_history",
    "require_onnx",
    "student_layers",
    "text_groups",
    "workers",
    "write_tiny_bert",
]

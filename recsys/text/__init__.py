"""Text to interest: an encoder fine-tuned on clicks and purchases, a user as attention over what they did, and their score."""

from recsys.text.checkpoint import Checkpoint
from recsys.text.encoder import Encoder, Inputs
from recsys.text.int8 import require_onnx
from recsys.text.model import InterestModel, item_texts, mean_of_history
from recsys.text.tiny import write_tiny_bert
from recsys.text.training import Fitted, Question, Training
from recsys.text.weights import MINILM, find_encoder

__all__ = [
    "MINILM",
    "Checkpoint",
    "Encoder",
    "Fitted",
    "Inputs",
    "InterestModel",
    "Question",
    "Training",
    "find_encoder",
    "item_texts",
    "mean_of_history",
    "require_onnx",
    "write_tiny_bert",
]

"""Training: documents packed into rows, a loss, an optimizer with its schedule, and a resumable loop."""

from llmref.training.data import Batch, Documents, TextFile, pack
from llmref.training.loop import TrainingConfig, train
from llmref.training.loss import next_token_loss

__all__ = ["Batch", "Documents", "TextFile", "TrainingConfig", "next_token_loss", "pack", "train"]

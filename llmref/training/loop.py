"""The training loop: a step is a batch, a loss, a gradient, an update.

A run can stop anywhere, and goes on as if it had not.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from llmref.mixture_of_experts import Router
from llmref.model import Transformer
from llmref.tokenizer import TextTokenizer
from llmref.training.data import Documents, pack
from llmref.training.loss import training_losses
from llmref.training.optimizer import learning_rate_at, make_optimizer


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        steps: How many updates.
        documents_per_step: How many documents make a batch.
        learning_rate: At its peak.
        warmup_steps: How many steps the learning rate rises.
        weight_decay: Of the matrices.
        clip_norm: The gradient's norm is cut to this.
        precision: `"bfloat16"` runs the matrix products in bfloat16 and keeps the weights in float32.
        checkpoint_every: A checkpoint after so many steps.
        balancing: What the loss that balances the experts of a mixture is multiplied by.
    """

    steps: int
    documents_per_step: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int = 500
    balancing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "documents_per_step", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainingConfig.{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(f"warmup_steps must be from 0 to {self.steps - 1}, found {self.warmup_steps}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, found {self.precision!r}")
        if self.balancing < 0:
            raise ValueError(f"TrainingConfig.balancing must be at least 0, found {self.balancing}")


def train(
    model: Transformer,
    tokenizer: TextTokenizer,
    documents: Documents,
    config: TrainingConfig,
    folder: str | os.PathLike[str],
    *,
    progress: bool = True,
    after_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a model in place, or go on with a run that was interrupted.

    The batch of a step depends on the step alone, so a resumed run sees what it would have seen, and ends at
    the same loss.

    Args:
        model: The model; a run that resumes overwrites its weights with those of the checkpoint.
        tokenizer: Its tokenizer.
        documents: Gives the documents of each step.
        config: How to train.
        folder: Where checkpoints and the history of losses are kept; the newest checkpoint there is resumed.
        progress: Whether to show a progress bar.
        after_step: Called with the step and its loss.

    Returns:
        The next-token loss of every step, the steps before an interruption included, in nats per token.

    Raises:
        ValueError: If the folder holds a run with another config or on other documents, the model has no
            begin or end token, or there is nothing to balance in it.
    """
    bos_id, eos_id = model.config.bos_id, model.config.eos_id
    if bos_id is None or eos_id is None:
        raise ValueError("to train, a model's config needs bos_id and eos_id")
    if config.balancing > 0 and not any(isinstance(module, Router) for module in model.modules()):
        raise ValueError("TrainingConfig.balancing needs a model with a mixture of experts, found none")
    first = [tokenizer.encode(text) for text in documents(0, config.documents_per_step)]
    recipe = {
        "model": model.config.to_dict(),
        "training": asdict(config),
        "first_batch": hashlib.sha256(json.dumps(first).encode()).hexdigest(),
    }
    checkpoints = _Checkpoints(Path(folder), recipe)
    optimizer = make_optimizer(model, config.learning_rate, config.weight_decay)
    losses = checkpoints.restore(model, optimizer)
    model.train()
    bar = tqdm(total=config.steps, initial=len(losses), disable=not progress, unit="step", mininterval=1.0)
    for step in range(len(losses), config.steps):
        ids = [tokenizer.encode(text) for text in documents(step, config.documents_per_step)]
        batch = pack(ids, model.config.context_length, bos_id, eos_id).to(model.device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, config.learning_rate, config.warmup_steps, config.steps)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            loss, balancing = training_losses(model, batch)
        (loss + config.balancing * balancing).backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
        bar.update()
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            checkpoints.write(model, optimizer, losses)
        if after_step is not None:
            after_step(step, losses[-1])
    bar.close()
    model.eval()
    return losses


class _Checkpoints:
    """Folders named by their step, each written beside and then renamed, so that one that exists is whole."""

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written is known before the work
        # Through JSON and back: tuples become lists, as they are on disk.
        self.recipe = json.loads(json.dumps(recipe))

    def newest(self) -> Path | None:
        """The checkpoint of the highest step, if there is one."""
        return max(self.folder.glob("step-*"), default=None)

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
        """Load the newest checkpoint; gives the losses up to it."""
        newest = self.newest()
        if newest is None:
            return []
        state = json.loads((newest / "state.json").read_text("utf-8"))
        if state["recipe"] != self.recipe:
            raise ValueError(
                f"{self.folder} holds a run with another recipe: give another folder, or remove it"
            )
        model.load_state_dict(load_file(newest / "model.safetensors"))
        moments = load_file(newest / "optimizer.safetensors")
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = {
                key: moments[f"{name}/{key}"].to(parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{name}/{key}" in moments  # an expert that no token has gone to yet has none
            }
        return list(state["losses"])

    def write(self, model: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
        """Write a checkpoint of this moment, then remove the older ones."""
        target = self.folder / f"step-{len(losses):08d}"
        writing = self.folder / f".writing-{target.name}"
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        moments: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            for key, tensor in optimizer.state[parameter].items():
                moments[f"{name}/{key}"] = tensor.detach().cpu()
        save_file(weights, writing / "model.safetensors")
        save_file(moments, writing / "optimizer.safetensors")
        state = {"recipe": self.recipe, "losses": losses}
        (writing / "state.json").write_text(json.dumps(state), "utf-8")
        older = list(self.folder.glob("step-*"))
        writing.rename(target)
        for checkpoint in older:
            shutil.rmtree(checkpoint)

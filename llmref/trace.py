"""Every named tensor of one forward pass, and cuts that take a part out.

A trace runs attention the naive way, so that scores and weights exist to be looked at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from llmref.attention.masks import Mask
from llmref.model import Transformer, sequential_positions


@dataclass(frozen=True)
class Cut:
    """One part of a model taken out: what it gives is replaced.

    Attributes:
        layer: `"blocks.1.attention"` or `"blocks.1.feedforward"`.
        head: One head of an attention layer; `None` for the whole layer.
        by: `"zero"`, or `"mean"`: the mean of what it gives over all tokens of the pass.
    """

    layer: str
    head: int | None = None
    by: Literal["zero", "mean"] = "zero"

    def __post_init__(self) -> None:
        if self.by not in ("zero", "mean"):
            raise ValueError(f"a cut is replaced by 'zero' or 'mean', found {self.by!r}")


class Trace(Mapping[str, Tensor]):
    """The tensors of one pass by name, in the order in which they came to be.

    `print(trace)` lists every name with its shape and its bytes.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise KeyError(f"no tensor is named {name!r}; there are {', '.join(self._tensors)}")
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __str__(self) -> str:
        width = max(map(len, self._tensors))
        shapes = {name: " x ".join(map(str, tensor.shape)) for name, tensor in self._tensors.items()}
        return "\n".join(
            f"{name:<{width}}  {shapes[name]:>18}  {tensor.numel() * tensor.element_size():>9,} bytes"
            for name, tensor in self._tensors.items()
        )


def trace(
    model: Transformer,
    ids: Int[Tensor, "batch tokens"] | Sequence[int],
    *,
    positions: Int[Tensor, "batch tokens"] | None = None,
    mask: Mask | None = None,
    cuts: Sequence[Cut] = (),
) -> Trace:
    """Run one forward pass and keep every named tensor of it.

    Args:
        model: The model.
        ids: The token ids, as a list for one text or as a tensor for a batch.
        positions: Where the tokens stand; counted from 0 if not given.
        mask: Who may look at whom; `causal()` if not given.
        cuts: The parts to take out.

    Returns:
        The tensors by name: `embedding`; for each block `blocks.0.input` (the residual stream that enters
        it), `blocks.0.attention.query`, `.key`, `.value` (batch, heads, tokens, head_dim; queries and keys
        are rotated), `.scores`, `.weights` (batch, heads, queries, keys), `.head_outputs`, `.output`,
        `blocks.0.middle`, `blocks.0.feedforward.hidden`, `.output`, `blocks.0.output`; `final_norm`;
        `logits`. Latent attention has its `.latent` and `.rotated_key` besides. A mixture of experts has
        `.router.scores`, `.choices` and `.weights`, and `.experts.0.hidden` and `.output` of each expert that
        a token went to, with a row for each such token.

    Raises:
        ValueError: If a cut names no part of the model, or an id is out of range.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> seen = trace(model, [model.config.bos_id, *tokenizer.encode("Once upon a time")])
    >>> seen["blocks.0.attention.weights"].sum(dim=-1).round(decimals=4).unique().tolist()
    [1.0]
    >>> without = trace(model, tokenizer.encode("Once"), cuts=[Cut("blocks.0.attention", head=1)])
    >>> without["blocks.0.attention.head_outputs"][:, 1].abs().max().item()
    0.0
    """
    if not isinstance(ids, Tensor):
        ids = torch.tensor([list(ids)], dtype=torch.long, device=model.device)
    positions = sequential_positions(ids) if positions is None else positions
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), model.attention_backend("naive"), cutting(model, cuts), ExitStack() as hooks:
        for path, module in model.named_modules():
            if ".sites." in f".{path}":
                name = path.replace("sites.", "")
                hooks.callback(module.register_forward_hook(_keeper(seen, name)).remove)
        model(ids, positions, mask=mask)
    return Trace(seen)


def _keeper(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[name] = output

    return keep


@contextmanager
def cutting(model: Transformer, cuts: Sequence[Cut]) -> Iterator[None]:
    """Take parts out of a model inside a `with` block: for a loss, a generation, anything.

    Raises:
        ValueError: If a cut names no part of the model.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> with cutting(model, [Cut("blocks.9.attention")]):
    ...     pass
    Traceback (most recent call last):
    ...
    ValueError: a cut names blocks.0.attention … blocks.4.feedforward, found 'blocks.9.attention'
    """
    with ExitStack() as hooks:
        for cut in cuts:
            hooks.callback(_site(model, cut).register_forward_hook(_cutter(cut)).remove)
        yield


def _site(model: Transformer, cut: Cut) -> nn.Module:
    layers = dict(model.named_modules())
    if cut.layer not in layers or cut.layer.rpartition(".")[2] not in ("attention", "feedforward"):
        last = len(model.blocks) - 1
        raise ValueError(f"a cut names blocks.0.attention … blocks.{last}.feedforward, found {cut.layer!r}")
    if cut.head is None:
        return layers[f"{cut.layer}.sites.output"]
    if not cut.layer.endswith(".attention"):
        raise ValueError(f"only attention has heads; {cut.layer!r} has no head {cut.head}")
    n_heads = model.config.blocks[int(cut.layer.split(".")[1])].attention.n_heads
    if not 0 <= cut.head < n_heads:
        raise ValueError(f"{cut.layer} has heads 0 to {n_heads - 1}, found {cut.head}")
    return layers[f"{cut.layer}.sites.head_outputs"]


def _cutter(cut: Cut) -> Callable[..., Tensor]:
    def replace(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        part = output if cut.head is None else output[:, cut.head]
        new = (
            torch.zeros_like(part)
            if cut.by == "zero"
            else part.mean(dim=(0, 1), keepdim=True).expand_as(part)
        )
        if cut.head is None:
            return new
        output = output.clone()
        output[:, cut.head] = new
        return output

    return replace

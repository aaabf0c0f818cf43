"""A whole model: its linear layers are replaced by quantized ones, one after the other."""

from collections import Counter
from typing import NamedTuple

from torch import Tensor, nn

from llmref.quantization.linear import QuantizedLinear
from llmref.quantization.scheme import Kind, Quantization


class Sizes(NamedTuple):
    """The bytes of a model's weights before and after they were quantized."""

    before: int
    after: int


def quantize(model: nn.Module, kind: Kind, group_size: int | None = None) -> Sizes:
    """Replace the linear layers of a model by quantized ones, in place.

    Everything else stays as it is: embeddings and norms, the router of a mixture of experts, and an LM head
    that shares its matrix with the embedding.

    Args:
        model: The model; its weights may be of any dtype.
        kind: `"int8"` or `"int4"`.
        group_size: How many weights of int4 share a scale; 32 if not given.

    Raises:
        ValueError: If it is quantized already, a weight is not finite, or there is no such kind or group
            size. Nothing has changed then.

    >>> import llmref
    >>> model, tokenizer = llmref.load_tiny()
    >>> quantize(model, "int8")
    Sizes(before=4494848, after=1937408)
    >>> llmref.generate(model, tokenizer, "Minji lives in the", max_new_tokens=2, temperature=0)
    ' forest.'
    """
    quantization, found = Quantization(kind, group_size), quantization_of(model)
    if found is not None:
        raise ValueError(f"the model is quantized already, as {found.kind}: quantize the one that it was")
    layers = quantizable(model)
    for name, layer in layers.items():
        if not layer.weight.is_meta and not layer.weight.isfinite().all():
            raise ValueError(f"to be quantized, weights must be finite; those of {name} are not")
    before = weight_bytes(model)
    replace(model, quantization)
    return Sizes(before, weight_bytes(model))


def replace(model: nn.Module, quantization: Quantization) -> None:
    """Put a quantized layer in the place of each one that `quantizable` finds."""
    for name, layer in quantizable(model).items():
        model.set_submodule(name, quantization.layer(layer).train(layer.training))


def quantizable(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers by name, but for those that share their matrix."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and uses[id(module.weight)] == 1
    }


def quantization_of(model: nn.Module) -> Quantization | None:
    """How a model is quantized, or `None`.

    >>> layers = nn.Sequential(nn.Linear(8, 8))
    >>> quantization_of(layers) is None
    True
    >>> _ = quantize(layers, "int4", group_size=4)
    >>> quantization_of(layers)
    Quantization(kind='int4', group_size=4)
    """
    for module in model.modules():
        if isinstance(module, QuantizedLinear):
            group_size = getattr(module, "group_size", None)
            return Quantization("int8" if group_size is None else "int4", group_size)
    return None


def weight_bytes(model: nn.Module) -> int:
    """The bytes of a model's parameters, and of the integers and scales of its quantized layers.

    A matrix that two layers share counts once.
    """
    tensors: list[Tensor] = list(model.parameters())
    for module in model.modules():
        if isinstance(module, QuantizedLinear):
            tensors += [module.numbers, module.scales]
    return sum(tensor.nbytes for tensor in tensors)

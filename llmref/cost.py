"""What a model costs, counted from its config alone: parameters, FLOPs, bytes. No model is made.

A multiply-add counts as two FLOPs, and only matrix products count, as is usual: norms, activations, softmax
and rotations are a small rest. Sources: Kaplan et al., "Scaling Laws for Neural Language Models" (2020),
section 2.1, table 1; Pope et al., "Efficiently Scaling Transformer Inference" (2022), section 2.
"""

from dataclasses import dataclass, fields

from llmref.config import (
    AttentionConfig,
    FeedForwardConfig,
    LatentAttentionConfig,
    MixtureConfig,
    ModelConfig,
    NormConfig,
)


@dataclass(frozen=True)
class Part:
    """What one component of a model costs, or all of them.

    Attributes:
        parameters: Trained numbers; a matrix that two components share counts in the first, the embedding.
        prefill_flops: FLOPs of one pass over all tokens of the context.
        decode_flops: FLOPs of the step that computes the last token of the context, the others being cached.
        weight_bytes: The bytes of the parameters.
        cache_bytes: The bytes of the keys and values that the last token looks at, or of what they are made
            from: of the whole context, or of the last tokens where there is a window.
        idle_parameters: Parameters of the experts that a token does not go to.
        idle_bytes: The bytes of the experts that nobody goes to in a decode step, if no two of its tokens go
            to the same expert as long as there are others.
    """

    parameters: int = 0
    prefill_flops: int = 0
    decode_flops: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0
    idle_parameters: int = 0
    idle_bytes: int = 0

    @property
    def active_parameters(self) -> int:
        """The parameters that one token meets: all, but for the experts that it does not go to."""
        return self.parameters - self.idle_parameters

    def __add__(self, other: "Part") -> "Part":
        return Part(
            *(getattr(self, entry.name) + getattr(other, entry.name) for entry in fields(self)),
        )


@dataclass(frozen=True)
class Cost:
    """What a model costs, by component and in total; `print` shows it as a table.

    Attributes:
        batch: How many texts at once.
        context: How many tokens each text has.
        embedding: The token embedding, and the learned positions where there are any. A lookup is no FLOP.
        attention: All attention layers.
        feedforward: All feedforward layers.
        norms: All normalizations of the residual stream.
        lm_head: The LM head.
    """

    batch: int
    context: int
    embedding: Part
    attention: Part
    feedforward: Part
    norms: Part
    lm_head: Part

    @property
    def parts(self) -> dict[str, Part]:
        """The components by name, in the order in which a token meets them."""
        return {name: part for name, part in vars(self).items() if isinstance(part, Part)}

    @property
    def total(self) -> Part:
        """All components together."""
        return sum(self.parts.values(), Part())

    @property
    def prefill_bytes(self) -> int:
        """What a prefill moves at least: it reads every weight that it multiplies by, and writes the cache.

        The embedding's table is looked up, not read, unless the LM head multiplies by it.
        """
        tied = self.lm_head.weight_bytes == 0
        weights = self.total.weight_bytes - (0 if tied else self.embedding.weight_bytes)
        return weights + self.total.cache_bytes

    @property
    def decode_bytes(self) -> int:
        """What a decode step reads from memory: every weight that it multiplies by, and the cache.

        Of a mixture, only experts that a token goes to are read: as many as there can be.
        """
        return self.prefill_bytes - self.total.idle_bytes

    def __str__(self) -> str:
        lines = [
            f"batch {self.batch}, context {self.context:,}",
            f"{'':12}{'parameters':>12}{'weights':>12}{'prefill':>14}{'decode':>14}{'cache':>12}",
        ]
        for name, part in {**self.parts, "total": self.total}.items():
            lines.append(
                f"{name:12}{count(part.parameters):>12}{size(part.weight_bytes):>12}"
                f"{count(part.prefill_flops) + 'FLOP':>14}{count(part.decode_flops) + 'FLOP':>14}"
                f"{size(part.cache_bytes):>12}"
            )
        if self.total.idle_parameters > 0:
            met = count(self.total.active_parameters).strip()
            lines.append(f"each token meets {met} of the parameters")
        return "\n".join(lines)


def cost(config: ModelConfig, batch: int = 1, context: int | None = None, bytes_per_number: int = 2) -> Cost:
    """What a model of this config costs for `batch` texts of `context` tokens each.

    Args:
        config: The model.
        batch: How many texts at once.
        context: How many tokens each text has; the model's context length if not given.
        bytes_per_number: The size of a weight, a key's and a value's number: 2 for bfloat16, 4 for float32.

    Raises:
        ValueError: If a number is not positive, or the context is longer than the model's.

    >>> import llmref
    >>> model, _ = llmref.load_tiny()
    >>> tiny = cost(model.config, context=128)
    >>> tiny.total.parameters == model.n_parameters
    True
    >>> tiny.feedforward.parameters > tiny.attention.parameters
    True
    """
    context = config.context_length if context is None else context
    for name, value in (("batch", batch), ("context", context), ("bytes_per_number", bytes_per_number)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, found {value}")
    if context > config.context_length:
        raise ValueError(
            f"this model's context length is {config.context_length}, found a context of {context}"
        )

    d_model, vocab = config.d_model, config.vocab_size
    learned = config.context_length * d_model if config.positional_embedding == "learned" else 0
    attention = feedforward = Part()
    norms = (2 if config.embedding_norm else 1) * norm_parameters(config.norm, d_model)
    for block in config.blocks:
        attention += (
            latent_attention_cost(block.attention, d_model, batch, context, bytes_per_number)
            if isinstance(block.attention, LatentAttentionConfig)
            else attention_cost(block.attention, d_model, batch, context, bytes_per_number)
        )
        feedforward += (
            mixture_cost(block.feedforward, d_model, batch, context, bytes_per_number)
            if isinstance(block.feedforward, MixtureConfig)
            else feedforward_cost(block.feedforward, d_model, batch, context)
        )
        per_block = {"none": 0, "pre": 2, "post": 2, "output": 2, "sandwich": 4}[block.norm_position]
        norms += (1 if block.shared_norm else per_block) * norm_parameters(block.norm, d_model)

    def weighed(part: Part) -> Part:
        return part + Part(weight_bytes=part.parameters * bytes_per_number)

    return Cost(
        batch=batch,
        context=context,
        embedding=weighed(Part(parameters=vocab * d_model + learned)),
        attention=weighed(attention),
        feedforward=weighed(feedforward),
        norms=weighed(Part(parameters=norms)),
        lm_head=weighed(
            Part(
                parameters=0 if config.tied_embeddings else vocab * d_model,
                prefill_flops=2 * batch * context * d_model * vocab,
                decode_flops=2 * batch * d_model * vocab,
            )
        ),
    )


def attention_cost(
    config: AttentionConfig, d_model: int, batch: int, context: int, bytes_per_number: int
) -> Part:
    """One attention layer: four projections, then scores and sums over every pair of query and key.

    A decode step looks at what a rolling cache keeps. A prefill is counted with the pairs that a mask hides,
    as the naive code computes them. The norms of queries and keys are part of the layer.
    """
    inner, kept = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    matrices = 2 * d_model * inner + 2 * d_model * kept  # query and output; key and value
    biases = (inner + 2 * kept if config.bias else 0) + (d_model if config.output_bias else 0)
    small = query_key_norm_parameters(config) + (config.n_heads if config.sinks else 0)
    pair = 2 * 2 * inner  # a score and a weighted sum, for all heads
    seen = context if config.window is None else min(config.window, context)
    return Part(
        parameters=matrices + biases + small,
        prefill_flops=batch * (2 * context * matrices + context * context * pair),
        decode_flops=batch * (2 * matrices + seen * pair),
        cache_bytes=batch * seen * cache_bytes_per_token(config, bytes_per_number),
    )


def latent_attention_cost(
    config: LatentAttentionConfig, d_model: int, batch: int, context: int, bytes_per_number: int
) -> Part:
    """One latent attention layer, which compares and sums the latents themselves in a decode step.

    That step multiplies by the projections to keys and values once, for the query and for the sum, and not
    for each key; but its vectors are wider. A context of one token has no more keys than queries, and no step
    of this kind.
    """
    query_dim = config.plain_dim + config.rotated_dim
    inner, latent, query_latent = config.n_heads * query_dim, config.latent_dim, config.query_latent_dim
    down = d_model * (latent + config.rotated_dim)
    up = latent * config.n_heads * (config.plain_dim + config.value_dim)
    output = config.n_heads * config.value_dim * d_model
    query = d_model * inner if query_latent is None else query_latent * (d_model + inner)
    matrices = query + down + up + output
    biases = (query_latent or 0) + latent + config.rotated_dim + d_model if config.bias else 0
    norms = norm_parameters(config.norm, latent)
    norms += 0 if query_latent is None else norm_parameters(config.norm, query_latent)
    pair = 2 * config.n_heads * (query_dim + config.value_dim)
    latent_pair = 2 * config.n_heads * (latent + config.rotated_dim + latent)
    return Part(
        parameters=matrices + biases + norms,
        prefill_flops=batch * (2 * context * matrices + context * context * pair),
        decode_flops=batch * (2 * matrices + context * (pair if context == 1 else latent_pair)),
        cache_bytes=batch * context * cache_bytes_per_token(config, bytes_per_number),
    )


def feedforward_cost(config: FeedForwardConfig, d_model: int, batch: int, context: int) -> Part:
    """One feedforward layer: two projections, or three where it is gated."""
    into = 2 if config.gated else 1  # gate and up, or up alone
    matrices = (into + 1) * d_model * config.d_ff
    biases = into * config.d_ff + d_model if config.bias else 0
    return Part(
        parameters=matrices + biases,
        prefill_flops=2 * batch * context * matrices,
        decode_flops=2 * batch * matrices,
    )


def mixture_cost(
    config: MixtureConfig, d_model: int, batch: int, context: int, bytes_per_number: int
) -> Part:
    """One mixture of experts: all experts are kept, but a token is multiplied by those it goes to."""
    expert = feedforward_cost(config.expert, d_model, batch, context)
    router = d_model * config.n_experts
    idle_in_a_step = max(0, config.n_experts - batch * config.n_active)
    own = Part(
        parameters=router
        + (config.n_experts if config.router.bias else 0)
        + config.n_experts * expert.parameters,
        prefill_flops=2 * batch * context * router + config.n_active * expert.prefill_flops,
        decode_flops=2 * batch * router + config.n_active * expert.decode_flops,
        idle_parameters=(config.n_experts - config.n_active) * expert.parameters,
        idle_bytes=idle_in_a_step * expert.parameters * bytes_per_number,
    )
    if config.shared is None:
        return own
    return own + feedforward_cost(config.shared, d_model, batch, context)


def norm_parameters(config: NormConfig, d_model: int) -> int:
    """The weights of one normalization: each dimension is scaled, and LayerNorm may shift it as well."""
    return 2 * d_model if config.kind == "layer" and config.bias else d_model


def query_key_norm_parameters(config: AttentionConfig) -> int:
    """The weights of the norms of queries and of keys, where there are any.

    >>> from llmref.config import QueryKeyNormConfig
    >>> norm = QueryKeyNormConfig()
    >>> query_key_norm_parameters(AttentionConfig(n_heads=4, n_kv_heads=2, head_dim=8, query_key_norm=norm))
    16
    """
    norm = config.query_key_norm
    if norm is None:
        return 0
    vectors = 2 if norm.over == "head" else config.n_heads + config.n_kv_heads
    return norm_parameters(norm.norm, vectors * config.head_dim)


def cache_bytes_per_token(config: AttentionConfig | LatentAttentionConfig, bytes_per_number: int = 2) -> int:
    """What one token leaves in the cache of one attention layer: a key and a value for each key/value head.

    Latent attention leaves a latent and one rotated key.

    >>> cache_bytes_per_token(AttentionConfig(n_heads=32, n_kv_heads=8, head_dim=128))
    4096
    """
    heads, key_dim, value_dim = config.cached
    return heads * (key_dim + value_dim) * bytes_per_number


def count(number: float) -> str:
    """A large number in short, in steps of a thousand.

    >>> count(8_030_261_248), count(950)
    ('8.03 G', '950 ')
    """
    value = float(number)
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5 or prefix == "P":
            break
        value /= 1000
    return f"{value:.3g} {prefix}"


def size(n_bytes: int) -> str:
    """Bytes in short, in steps of 1,024.

    >>> size(131_072), size(0)
    ('128 KiB', '0 B')
    """
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}"

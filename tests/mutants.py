"""Deliberate faults, one at a time: each must turn at least one test red. `make mutants` shows the table.

A mutant is the package with one piece of text replaced. Its tests run in a process of their own, forked from
one that has already imported what takes long, with the mutant's files in front of the package's.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutant:
    """A fault: in this file, this text becomes that one; and the tests that should see it."""

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


FAMILIES = ("test_families.py",)
TOKENIZERS = ("test_tokenizer_real.py",)
MUTANTS = (
    # Positions
    Mutant(
        "RoPE's two layouts are swapped",
        "rope.py",
        'if layout == "half":',
        'if layout != "half":',
        ("test_rope.py",),
    ),
    Mutant(
        "RoPE turns the other way",
        "rope.py",
        "turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)",
        "turned = torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)",
        ("test_rope.py",),
    ),
    Mutant(
        "YaRN's ramp is inverted",
        "rope.py",
        "return plain * (1 - squeezed) + plain / scaling.factor * squeezed",
        "return plain * squeezed + plain / scaling.factor * (1 - squeezed)",
        ("test_rope.py",),
    ),
    Mutant(
        "Llama 3's ramp is inverted",
        "rope.py",
        "return plain * kept + plain / scaling.factor * (1 - kept)",
        "return plain * (1 - kept) + plain / scaling.factor * kept",
        ("test_rope.py",),
    ),
    Mutant(
        "dynamic NTK stretches one position too early",
        "rope.py",
        "lengths = positions.amax(dim=-1) + 1",
        "lengths = positions.amax(dim=-1) + 2",
        ("test_rope.py",),
    ),
    Mutant(
        "long-rope takes its long factors one position too early",
        "rope.py",
        "(lengths > scaling.original_context_length)[..., None]",
        "(lengths >= scaling.original_context_length)[..., None]",
        ("test_rope.py", "test_families.py"),
    ),
    Mutant(
        "YaRN's attention factor is lost",
        "rope.py",
        "return 0.1 * math.log(scaling.factor) + 1",
        "return 1.0",
        ("test_rope.py",),
    ),
    Mutant(
        "the rest of a partly rotated head is dropped to zero",
        "rope.py",
        "return torch.cat([turned, rest], dim=-1)",
        "return torch.cat([turned, 0 * rest], dim=-1)",
        FAMILIES,
    ),
    Mutant(
        "RoPE's base is ignored",
        "attention/heads.py",
        "rotation(positions, turned, rope.base, rope.scaling)",
        "rotation(positions, turned, 10_000.0, rope.scaling)",
        ("test_model.py",),
    ),
    Mutant(
        "ALiBi favours what is far",
        "positions.py",
        "return slopes.to(distance.device)[:, None, None] * -distance[:, None]",
        "return slopes.to(distance.device)[:, None, None] * distance[:, None]",
        ("test_positions.py",),
    ),
    Mutant(
        "ALiBi's slopes start one step too low",
        "positions.py",
        "slopes = [2 ** (-8 * head / lower) for head in range(1, lower + 1)]",
        "slopes = [2 ** (-8 * head / lower) for head in range(lower)]",
        ("test_positions.py",),
    ),
    Mutant(
        "sine and cosine change places",
        "positions.py",
        "return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)",
        "return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2)",
        ("test_positions.py",),
    ),
    # Attention
    Mutant(
        "the square root of head_dim is dropped",
        "attention/dot_product.py",
        "/ math.sqrt(query.shape[-1])",
        "/ 1",
        ("test_attention.py",),
    ),
    Mutant(
        "the softmax runs over the queries",
        "attention/dot_product.py",
        ".softmax(dim=-1)",
        ".softmax(dim=-2)",
        ("test_attention.py",),
    ),
    Mutant(
        "heads of a group do not share, they alternate",
        "attention/heads.py",
        "key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)",
        "key.repeat(1, group, 1, 1), value.repeat(1, group, 1, 1)",
        ("test_model.py",),
    ),
    Mutant(
        "the values are rotated too",
        "attention/heads.py",
        "value = self.split(self.value(x))\n",
        "value = self.split(self.value(x))\n"
        "        if self.config.rope is not None:\n"
        "            value = rotate(value, *rotation(positions, self.config.head_dim), 'half')\n",
        ("test_model.py",),
    ),
    Mutant(
        "queries are not normalized",
        "attention/heads.py",
        "query = self.query_norm(self.split(self.query(x)))",
        "query = self.split(self.query(x))",
        FAMILIES,
    ),
    Mutant(
        "a soft cap cuts instead of bending",
        "attention/scoring.py",
        "return cap * torch.tanh(scores / cap)",
        "return scores.clamp(-cap, cap)",
        FAMILIES,
    ),
    Mutant(
        "a sink takes no share",
        "attention/scoring.py",
        "if self.sinks is None:",
        "if True:",
        FAMILIES,
    ),
    # Masks
    Mutant(
        "a window does not count the token itself",
        "attention/masks.py",
        "return (distance >= 0) & (distance < self.size)",
        "return (distance >= 0) & (distance <= self.size)",
        ("test_attention_masks.py",),
    ),
    Mutant(
        "the causal mask lets a token see the next one",
        "attention/masks.py",
        "return key_positions <= query_positions",
        "return key_positions <= query_positions + 1",
        ("test_attention_masks.py",),
    ),
    Mutant(
        "the causal mask does not let a token see itself",
        "attention/masks.py",
        "return key_positions <= query_positions",
        "return key_positions < query_positions",
        ("test_attention_masks.py",),
    ),
    Mutant(
        "padding can be seen",
        "attention/masks.py",
        "return seen & (key_positions >= 0)",
        "return seen",
        ("test_attention_masks.py", "test_model.py"),
    ),
    Mutant(
        "documents that share a row see each other",
        "attention/masks.py",
        "self.query_ids[pairs.row, pairs.query] == self.ids",
        "self.query_ids[pairs.row, pairs.query] >= self.ids",
        ("test_attention_masks.py",),
    ),
    Mutant(
        "packed documents go on counting positions",
        "training/data.py",
        "positions[row, place] = torch.arange(len(document) + 1)",
        "positions[row, place] = torch.arange(shape[1])[place]",
        ("test_training.py",),
    ),
    Mutant(
        "random blocks are drawn from what comes later too",
        "attention/masks.py",
        "drawn = torch.randperm(block, generator=generator)",
        "drawn = torch.randperm(blocks, generator=generator)",
        ("test_attention_masks.py",),
    ),
    # Backends
    Mutant(
        "a tile with a higher score does not rescale the sum",
        "attention/flash.py",
        "total.mul_(rescale).add_(",
        "total.add_(",
        ("test_attention_flash.py",),
    ),
    Mutant(
        "the tiled backward pass forgets how the soft cap bends",
        "attention/flash.py",
        "slope = 1 - (scores / ctx.soft_cap).square()",
        "slope = 1.0",
        ("test_attention_flash.py",),
    ),
    Mutant(
        "heads that are shared get the gradient of one sharer",
        "attention/flash.py",
        "(weights.mT @ some_grads).unflatten(1, shared).sum(dim=2)",
        "(weights.mT @ some_grads).unflatten(1, shared)[:, :, 0]",
        ("test_attention_flash.py",),
    ),
    Mutant(
        "a kernel's window is one too wide",
        "kernels/tile.py",
        "seen = seen & (distance < WINDOW)",
        "seen = seen & (distance <= WINDOW)",
        ("test_attention_backends.py",),
    ),
    Mutant(
        "a kernel leaves out a tile too many",
        "kernels/mask.py",
        "(needed.shape[2] - needed.flip(2).int().argmax(dim=2))",
        "(needed.shape[2] - 1 - needed.flip(2).int().argmax(dim=2))",
        ("test_kernels.py",),
    ),
    Mutant(
        "all stretches of a step of decoding count alike",
        "kernels/flash_decode.py",
        "weights = tl.exp(log_total - m)",
        "weights = tl.exp(0.0 * (log_total - m))",
        ("test_kernels.py",),
    ),
    Mutant(
        "the kernels' backward pass forgets the average",
        "kernels/flash_backward.py",
        "dK += product(tl.trans(dS * change), Q)",
        "dK += product(tl.trans((dS + P * D[:, None]) * change), Q)",
        ("test_kernels.py",),
    ),
    # Normalization and residual
    Mutant(
        "RMSNorm adds its epsilon outside the root",
        "normalization.py",
        "normalized = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)",
        "normalized = wide / (wide.square().mean(dim=-1, keepdim=True).sqrt() + self.eps)",
        ("test_normalization.py",),
    ),
    Mutant(
        "LayerNorm divides by the unbiased deviation",
        "normalization.py",
        "centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + self.eps)",
        "centred * torch.rsqrt(wide.var(dim=-1, keepdim=True) + self.eps)",
        ("test_normalization.py",),
    ),
    Mutant(
        "the 1 of 1 + w is lost",
        "normalization.py",
        "(normalized * (1 + self.weight.to(wide.dtype)))",
        "(normalized * self.weight.to(wide.dtype))",
        FAMILIES,
    ),
    Mutant(
        "a parallel feedforward reads what attention left",
        "block.py",
        'stream = x if self.config.residual == "parallel" else middle',
        "stream = middle",
        ("test_block.py",),
    ),
    Mutant(
        "the residual multiplier is lost",
        "block.py",
        "added = added * self.config.residual_multiplier",
        "added = added * 1",
        ("test_block.py",),
    ),
    # Feedforward
    Mutant(
        "the gate and the other projection change places",
        "feedforward.py",
        "self.activation(gate) * (up + self.config.up_offset)",
        "self.activation(up) * (gate + self.config.up_offset)",
        ("test_feedforward.py", "test_model.py"),
    ),
    Mutant(
        "GELU's tanh form is the exact one",
        "feedforward.py",
        '"gelu_tanh": partial(nn.functional.gelu, approximate="tanh")',
        '"gelu_tanh": nn.functional.gelu',
        ("test_feedforward.py",),
    ),
    Mutant(
        "the clamp of the gate is lost",
        "feedforward.py",
        "gate, up = gate.clamp(max=self.config.limit), up.clamp(-self.config.limit, self.config.limit)",
        "pass",
        ("test_feedforward.py", "test_families.py"),
    ),
    Mutant(
        "the weights of the experts are not normalized",
        "mixture_of_experts.py",
        "        if self.config.normalize:\n",
        "        if False:\n",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "the choice bias changes the weights too",
        "mixture_of_experts.py",
        "weights = scores.gather(-1, choices)",
        "weights = biased.gather(-1, choices)",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "a group is as good as its best expert, whatever the config says",
        "mixture_of_experts.py",
        '{"best": 1, "best_two": 2}[config.group_score]',
        "1",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "experts of groups that are not among the best can be chosen",
        "mixture_of_experts.py",
        "groups.masked_fill(closed[..., None], -math.inf)",
        "groups",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "what an expert makes goes to the wrong tokens",
        "mixture_of_experts.py",
        "rows = chosen // self.config.n_active",
        "rows = chosen % len(tokens)",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "the shared expert is left out",
        "mixture_of_experts.py",
        "mixed if self.shared is None else mixed + self.shared(x)",
        "mixed",
        ("test_mixture_of_experts.py", "test_families.py"),
    ),
    Mutant(
        "a router's choice bias is rounded with the model",
        "mixture_of_experts.py",
        "if before is not None and after is not None:",
        "if False:",
        ("test_mixture_of_experts.py", "test_families_experts.py"),
    ),
    Mutant(
        "the balancing loss counts an expert's probability alone",
        "mixture_of_experts.py",
        "(share * scores.flatten(0, -2).mean(dim=0))",
        "scores.flatten(0, -2).mean(dim=0)",
        ("test_mixture_of_experts.py",),
    ),
    Mutant(
        "all experts count as read in a step of decoding",
        "cost.py",
        "idle_in_a_step = max(0, config.n_experts - batch * config.n_active)",
        "idle_in_a_step = 0",
        ("test_cost.py",),
    ),
    Mutant(
        "gate and up change places where all experts are in one tensor",
        "families/gpt_oss.py",
        'Packed((f"{_EXPERTS}.gate.weight", f"{_EXPERTS}.up.weight"), Stacked(2))',
        'Packed((f"{_EXPERTS}.up.weight", f"{_EXPERTS}.gate.weight"), Stacked(2))',
        FAMILIES,
    ),
    # Latent attention
    Mutant(
        "the latent's norm is skipped",
        "attention/latent.py",
        "latent, rotated_key = self.latent_norm(self.latent(x))[:, None]",
        "latent, rotated_key = self.latent(x)[:, None]",
        ("test_attention_latent.py", "test_families.py"),
    ),
    Mutant(
        "latent attention scales by the plain part alone",
        "attention/latent.py",
        "(self.config.plain_dim + self.config.rotated_dim) ** -0.5",
        "self.config.plain_dim ** -0.5",
        ("test_attention_latent.py", "test_families.py"),
    ),
    Mutant(
        "the absorbed form leaves the rotated part of the query at its place before the plain one",
        "attention/latent.py",
        "torch.cat([plain @ key_weight, rotated], dim=-1)",
        "torch.cat([rotated, plain @ key_weight], dim=-1)",
        ("test_attention_latent.py",),
    ),
    Mutant(
        "the rotated key is cached before it is rotated",
        "attention/latent.py",
        "        rotated_key = rotate(rotated_key, cos, sin, rope.layout)\n",
        "",
        ("test_attention_latent.py",),
    ),
    Mutant(
        "a head's keys and values are cut in one piece each",
        "families/deepseek_v2.py",
        "return Rows(groups=config.blocks[0].attention.n_heads)",
        "return Rows()",
        FAMILIES,
    ),
    Mutant(
        "DeepSeek's scale grows with a longer context once, not for query and key",
        "families/deepseek_v2.py",
        "_magnitude(factor, sharpness) ** 2",
        "_magnitude(factor, sharpness)",
        ("test_families_experts.py", "test_families.py"),
    ),
    # Caches
    Mutant(
        "a rolling cache keeps one token too few",
        "cache/rolling.py",
        "max(positions.shape[1] - (window - 1), 0)",
        "max(positions.shape[1] - (window - 2), 0)",
        ("test_cache_rolling.py",),
    ),
    Mutant(
        "a rolling cache keeps what came last, padding or not",
        "cache/rolling.py",
        "positions.argsort(dim=1, stable=True)[:, forgotten:]",
        "torch.arange(positions.shape[1]).expand(positions.shape)[:, forgotten:]",
        ("test_cache_rolling.py",),
    ),
    Mutant(
        "all blocks take the first block's keys to stand where theirs do",
        "model.py",
        "cache.key_positions(index)",
        "cache.key_positions(0)",
        ("test_cache_rolling.py",),
    ),
    Mutant(
        "a cache counts positions by itself",
        "cache/growing.py",
        "torch.cat([self.positions, positions], dim=1)",
        "torch.arange(self.n_tokens + positions.shape[1]).expand(len(positions), -1)",
        ("test_cache.py",),
    ),
    Mutant(
        "a static cache writes each pass over the one before",
        "cache/static.py",
        "self.slots = slice(self.used, self.used + tokens)",
        "self.slots = slice(0, tokens)",
        ("test_cache.py",),
    ),
    Mutant(
        "an 8-bit integer overflows at the largest number",
        "cache/quantized.py",
        "amax(dim=-1, keepdim=True) / 127",
        "amax(dim=-1, keepdim=True) / 128",
        ("test_cache_quantized.py",),
    ),
    # Model and generation
    Mutant(
        "the embedding's multiplier is lost",
        "model.py",
        "if self.config.embedding_multiplier != 1.0:",
        "if False:",
        FAMILIES,
    ),
    Mutant(
        "the logits' soft cap is lost",
        "model.py",
        "return logits if self.config.logit_soft_cap is None else",
        "return logits if True else",
        FAMILIES,
    ),
    Mutant(
        "a step of generation stands one position too early",
        "generation/loop.py",
        "            position += tokens.shape[1]\n            chosen",
        "            position += tokens.shape[1] - 1\n            chosen",
        ("test_generation.py",),
    ),
    Mutant(
        "top-p drops the token that crosses the threshold",
        "decoding/cutting.py",
        "before >= self.p",
        "before + probabilities >= self.p",
        ("test_decoding.py",),
    ),
    Mutant(
        "DeepNorm's epsilon is divided by alpha once",
        "deep_norm.py",
        "block.norm.eps / alpha**2",
        "block.norm.eps / alpha",
        ("test_deep_norm.py",),
    ),
    Mutant(
        "a decode step is counted over the whole context, whatever the window",
        "cost.py",
        "seen = context if config.window is None else min(config.window, context)",
        "seen = context",
        ("test_cost.py",),
    ),
    Mutant(
        "the roofline takes the faster of the two",
        "roofline.py",
        "return max(self.flops / self.device.flops, self.n_bytes / self.device.bandwidth)",
        "return min(self.flops / self.device.flops, self.n_bytes / self.device.bandwidth)",
        ("test_roofline.py",),
    ),
    # Tokenizers and chats
    Mutant(
        "a doubled BOS",
        "generation/text.py",
        "return [*begin, *tokenizer.encode(text)]",
        "return [*begin, *begin, *tokenizer.encode(text)]",
        ("test_generation.py",),
    ),
    Mutant(
        "a text that goes on loses the space of its first token",
        "generation/text.py",
        "decoder = tokenizer.stream(after=[token_id for token_id in prompt if token_id < size])",
        "decoder = tokenizer.stream()",
        ("test_generation.py",),
    ),
    Mutant(
        "a text's first token keeps its space",
        "tokenizer/stream.py",
        "self._next_bytes = first_bytes or token_bytes",
        "self._next_bytes = token_bytes",
        TOKENIZERS,
    ),
    Mutant(
        "every token loses its space",
        "tokenizer/stream.py",
        "self._spaces = 0  # the text has begun",
        "pass",
        TOKENIZERS,
    ),
    Mutant(
        "tokens that stand for no text are text, if the library runs them",
        "tokenizer/library.py",
        'if token["special"] or token["content"] in special_names',
        'if token["content"] in special_names',
        TOKENIZERS,
    ),
    Mutant(
        "merges may lead to a special token",
        "tokenizer/library.py",
        'model["merges"] = [pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))]',
        "pass",
        TOKENIZERS,
    ),
    Mutant(
        "words that are tokens are cut all the same",
        "tokenizer/bpe.py",
        "ids if ignore_merges else {}",
        "{}",
        TOKENIZERS,
    ),
    Mutant(
        "no text is normalized",
        "tokenizer/bpe.py",
        "if self.normalization is None or text.isascii():",
        "if True:",
        TOKENIZERS,
    ),
    Mutant(
        "all added tokens are looked for before the text is normalized",
        "tokenizer/bpe.py",
        "before = {name: index for name, index in names.items() if name not in self.normalized}",
        "before = names",
        TOKENIZERS,
    ),
    Mutant(
        "a negated class has the members of the class",
        "tokenizer/pattern.py",
        'return f"[^{members(',
        'return f"[{members(',
        ("test_tokenizer_pattern.py",),
    ),
    Mutant(
        "a token that a chat template writes is any text's",
        "tokenizer/load.py",
        "return document | changes, named | marks",
        "return document | changes, named",
        TOKENIZERS,
    ),
    Mutant(
        "add_bos_token: false is not heard",
        "tokenizer/load.py",
        "if found is None or settings.add_bos_token is False:",
        "if found is None:",
        TOKENIZERS,
    ),
    Mutant(
        "steps that put tokens before a text do so in the wrong order",
        "tokenizer/files.py",
        "for step in reversed(steps) for index in step",
        "for step in steps for index in step",
        TOKENIZERS,
    ),
    Mutant(
        "a message may hold special tokens",
        "chat/template.py",
        'special_tokens if run[0].startswith(b"\\1") else {}',
        "special_tokens",
        ("test_chat.py",),
    ),
    Mutant(
        "a text put before the template's takes over its marks",
        "chat/written.py",
        "return Written(other.__add__(self), marks_of(other) + self.marks)",
        "return Written(other.__add__(self), self.marks + marks_of(other))",
        ("test_chat.py",),
    ),
    Mutant(
        "a name that lost its mark goes through as text",
        "chat/template.py",
        "if isinstance(found, int) and not any(names[found] in text for text in texts):",
        "if False:",
        ("test_chat.py",),
    ),
    Mutant(
        "a list of lists costs as much as its length",
        "chat/sandbox.py",
        "                self.built(item)\n",
        "                pass\n",
        ("test_chat.py",),
    ),
    # Checkpoints
    Mutant(
        "fused projections are cut in one piece per part, not per group",
        "families/family.py",
        "parts = stored.unflatten(0, (self.groups, -1)).split(sizes, dim=1)",
        "parts = stored.unflatten(0, (1, -1)).split([len(part) for part in ours], dim=1)",
        FAMILIES,
    ),
)


def mutate(mutant: Mutant, folder: Path) -> None:
    """Copy the package to the folder, with the fault in it."""
    shutil.copytree(ROOT / "llmref", folder / "llmref", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "llmref" / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        found = f"found it {text.count(mutant.old)} times"
        raise ValueError(f"{mutant.fault}: expected its text once in llmref/{mutant.file}, {found}")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def first_red(mutant: Mutant) -> str | None:
    """The first test that the fault turns red, or `None` if it lives on."""
    read, write = os.pipe()
    with tempfile.TemporaryDirectory() as name:
        mutate(mutant, Path(name))
        if (child := os.fork()) == 0:
            os.close(read)
            with os.fdopen(write, "w", encoding="utf-8") as answer:
                answer.write(_run(mutant, Path(name)))
            os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as answer:
            found = answer.read()
        os.waitpid(child, 0)
    return found or None


def _run(mutant: Mutant, folder: Path) -> str:
    import pytest

    class Watch:
        red = ""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and not self.red:
                self.red = report.nodeid

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed and not self.red:
                self.red = f"{report.nodeid} cannot be collected"

    sys.path.insert(0, str(folder))
    watch = Watch()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main(
            [
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                *(str(ROOT / "tests" / name) for name in mutant.tests),
            ],
            plugins=[watch],
        )
    return watch.red


def main() -> int:
    """Runs every mutant, or those whose fault holds one of the given words, and prints the table."""
    import hypothesis  # noqa: F401 - what takes long to import is imported once, here
    import torch
    import transformers  # noqa: F401
    from tqdm import tqdm

    torch.set_num_threads(1)  # a process that has started threads must not fork
    words = sys.argv[1:]
    chosen = [each for each in MUTANTS if not words or any(word in each.fault for word in words)]
    alive = 0
    for mutant in tqdm(chosen, unit="mutant", disable=not sys.stderr.isatty()):
        red = first_red(mutant)
        alive += red is None
        print(
            f"{'alive ' if red is None else 'killed'}  {mutant.fault}\n        {red or mutant.tests}",
            flush=True,
        )
    print(f"{len(chosen) - alive} killed, {alive} alive")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())

"""Training: packing loses nothing and mixes nothing, the loss is right and falls, a run resumes exactly."""

import contextlib
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    VOCAB_SIZE,
    fresh_model,
    logits_of,
    small_config,
    small_model,
    small_tokenizer,
    text_config,
)
from hypothesis import given
from hypothesis import strategies as st

from llmref.config import FeedForwardConfig, MixtureConfig, ModelConfig
from llmref.mixture_of_experts import balancing_loss
from llmref.model import Transformer
from llmref.tokenizer import Tokenizer
from llmref.training import Batch, TextFile, TrainingConfig, next_token_loss, pack, train
from llmref.training import loop as loop_module
from llmref.training.data import IGNORE
from llmref.training.loss import routing, training_losses
from llmref.training.optimizer import learning_rate_at, make_optimizer

BOS, EOS = 1, 2
documents_strategy = st.lists(st.lists(st.integers(3, VOCAB_SIZE - 1), max_size=11), min_size=1, max_size=9)


def unpacked(batch: Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """Each document's ids, targets and positions, row by row."""
    found = []
    for row in range(len(batch.ids)):
        for number in range(int(batch.documents[row].max()) + 1):
            place = batch.documents[row] == number
            found.append(
                (
                    batch.ids[row, place].tolist(),
                    batch.targets[row, place].tolist(),
                    batch.positions[row, place].tolist(),
                )
            )
    return found


@given(documents_strategy, st.integers(12, 30))
def test_packing_keeps_every_document_whole_and_once(documents: list[list[int]], length: int) -> None:
    batch = pack(documents, length, BOS, EOS)
    found = unpacked(batch)
    expected = [([BOS, *ids], [*ids, EOS], list(range(len(ids) + 1))) for ids in documents]
    assert sorted(found) == sorted(expected)
    padding = batch.documents == -1
    assert torch.equal(padding, batch.positions == -1)
    assert torch.equal(padding, batch.targets == IGNORE)
    assert batch.ids[padding].eq(0).all()
    assert batch.n_targets == sum(len(ids) + 1 for ids in documents)
    for row in batch.documents.tolist():  # a document's tokens stand together, padding last
        real = [number for number in row if number >= 0]
        assert row == real + [-1] * (length - len(real))
        assert real == sorted(real)


@given(documents_strategy, st.integers(12, 30))
def test_no_two_rows_could_have_been_one(documents: list[list[int]], length: int) -> None:
    batch = pack(documents, length, BOS, EOS)
    filled = sorted((row >= 0).sum().item() for row in batch.documents)
    assert all(one + other > length for one, other in pairwise(filled))


@given(documents_strategy)
def test_the_packed_loss_is_the_mean_over_the_documents_tokens(documents: list[list[int]]) -> None:
    model = small_model()
    total, count = 0.0, 0
    for ids in documents:
        logits = logits_of(model, torch.tensor([[BOS, *ids]]))[0]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor([*ids, EOS]), reduction="sum").item()
        count += len(ids) + 1
    with torch.no_grad():
        packed_loss = next_token_loss(model, pack(documents, 14, BOS, EOS)).item()
    assert packed_loss == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("window", [None, 3])
def test_the_packed_gradients_are_those_of_the_documents_alone(window: int | None) -> None:
    documents = [[3, 4, 5, 6], [7, 8], [9]]
    packed_model, model = (fresh_model(small_config(window=window)) for _ in range(2))
    next_token_loss(packed_model, pack(documents, 10, BOS, EOS)).backward()
    for ids in documents:
        batch = pack([ids], 10, BOS, EOS)
        (next_token_loss(model, batch) * batch.n_targets / 10).backward()
    for one, other in zip(packed_model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("broken", ["positions", "documents"])
def test_the_loss_needs_both_the_positions_and_the_mask(broken: str) -> None:
    batch = pack([[3, 4, 5], [6, 7, 8]], 8, BOS, EOS)
    right = next_token_loss(small_model(), batch).item()
    wrong = {"positions": torch.arange(8)[None], "documents": torch.zeros(1, 8, dtype=torch.long)}
    found = next_token_loss(small_model(), replace(batch, **{broken: wrong[broken]})).item()
    # A rotary model knows distances alone: positions that go on change nothing while the mask holds.
    assert (found == pytest.approx(right, rel=1e-4)) == (broken == "positions")


def test_packing_errors() -> None:
    with pytest.raises(ValueError, match="no documents to pack"):
        pack([], 8, BOS, EOS)
    with pytest.raises(ValueError, match="a document of 9 tokens does not fit into a row of 8"):
        pack([[3], [3] * 8], 8, BOS, EOS)


# The balancing of experts


def mixture(**rest: Any) -> ModelConfig:
    config = small_config(**rest)
    experts = MixtureConfig(n_experts=5, n_active=2, expert=FeedForwardConfig(d_ff=7))
    return replace(config, blocks=tuple(replace(block, feedforward=experts) for block in config.blocks))


def test_the_balancing_loss_is_summed_over_the_blocks_and_leaves_padding_out() -> None:
    model = small_model(mixture())
    batch = pack([[3, 4, 5, 6], [7, 8]], 12, BOS, EOS)
    assert (batch.positions < 0).any()
    with routing(model) as (scores, choices):
        loss, balancing = training_losses(model, batch)
    real = batch.positions >= 0
    expected = sum(balancing_loss(scores[block][real], choices[block][real]).item() for block in range(2))
    assert len(scores) == len(choices) == 2
    assert balancing.item() == pytest.approx(expected)
    assert loss.item() == next_token_loss(model, batch).item()
    assert training_losses(small_model(), batch)[1].item() == 0
    assert len(scores) == 2  # outside the block nothing is kept


def test_balancing_evens_the_experts_out(tmp_path: Path) -> None:
    config = mixture(vocab_size=small_tokenizer().vocab_size, bos_id=0, eos_id=0)
    most = {}
    for balancing in (0.0, 1.0):
        torch.manual_seed(0)
        model = Transformer(config)
        with torch.no_grad():
            for block in model.blocks:
                block.feedforward.router.weight[0] *= 20  # type: ignore[union-attr, operator, index]
        run(tmp_path / str(balancing), model, replace(CONFIG, steps=30, balancing=balancing))
        batch = pack([small_tokenizer().encode(text) for text in TEXTS], 48, 0, 0)
        most[balancing] = training_losses(model, batch)[1].item()
    assert most[1.0] < most[0.0]


def test_an_expert_that_no_token_went_to_does_not_stop_a_run_from_going_on(tmp_path: Path) -> None:
    config = mixture(vocab_size=small_tokenizer().vocab_size, bos_id=0, eos_id=0)
    lost: list[list[float]] = []
    for folder in ("whole", "parts"):
        torch.manual_seed(0)
        model = Transformer(config)
        with torch.no_grad():
            for block in model.blocks:
                block.feedforward.router.weight.zero_()  # type: ignore[union-attr, operator]
        # All scores are equal, so that all tokens of the first step go to the same two experts.
        if folder == "parts":
            with contextlib.suppress(KeyboardInterrupt):
                run(tmp_path / folder, model, replace(CONFIG, checkpoint_every=1), after_step=_stop)
        lost.append(run(tmp_path / folder, model, replace(CONFIG, checkpoint_every=1)))
    assert lost[0] == lost[1]


def _stop(step: int, loss: float) -> None:
    raise KeyboardInterrupt


# Text files


def test_a_text_file_gives_each_document_once_in_each_pass(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    texts = [f"document {number}" for number in range(7)]
    file.write_text("\n\n".join(texts) + "\n\n\n\n", "utf-8")
    documents = TextFile(file, seed=3)
    drawn = [text for step in range(14) for text in documents(step, 3)]
    for start in range(0, 42, 7):
        assert sorted(drawn[start : start + 7]) == texts
    assert drawn[:7] != drawn[7:14]
    assert documents(5, 3) == TextFile(file, seed=3)(5, 3)
    assert [text for step in range(14) for text in TextFile(file, seed=4)(step, 3)] != drawn
    assert sorted(documents(0, 21)) == sorted(texts * 3)


def test_text_file_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing.txt"):
        TextFile(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("\n\n \n")
    with pytest.raises(ValueError, match="empty.txt holds no document"):
        TextFile(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="binary.txt is not UTF-8 text"):
        TextFile(tmp_path / "binary.txt")


# The optimizer


def test_the_learning_rate_rises_in_a_line_and_falls_in_one() -> None:
    rates = [learning_rate_at(step, 2.0, 4, 12) for step in range(12)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:] == [2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25]
    assert learning_rate_at(0, 2.0, 0, 1) == 2.0


def test_only_matrices_decay() -> None:
    model = fresh_model(small_config(bias=True, norm="layer"))
    optimizer = make_optimizer(model, 1e-3, 0.1)
    decayed, kept = (group["params"] for group in optimizer.param_groups)
    assert {parameter.ndim for parameter in decayed} == {2}
    assert {parameter.ndim for parameter in kept} == {1}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert len(decayed) + len(kept) == len(list(model.parameters()))  # the tied matrix counts once


# The loop

CONFIG = TrainingConfig(
    steps=12, documents_per_step=4, learning_rate=1e-2, warmup_steps=2, checkpoint_every=5
)
TEXTS = ["the dog saw the cat", "the cat saw the dog", "강아지가 고양이를 보았다", "the cat saw"]


def texts_of(step: int, count: int) -> list[str]:
    return [TEXTS[(step * 7 + index) % len(TEXTS)] for index in range(count)]


def start() -> Transformer:
    torch.manual_seed(0)
    return Transformer(text_config())


def run(
    folder: Path, model: Transformer | None = None, config: TrainingConfig = CONFIG, **more: Any
) -> list[float]:
    return train(model or start(), small_tokenizer(), texts_of, config, folder, progress=False, **more)


def test_the_loss_starts_at_knowing_nothing_and_falls(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=40)
    model = start()
    losses = run(tmp_path, model, config)
    assert len(losses) == 40
    assert losses[0] == pytest.approx(math.log(small_tokenizer().vocab_size), abs=1)
    assert losses[-1] < losses[0] / 2
    assert not model.training


@pytest.mark.parametrize("stop_after", [0, 4, 7, 9, 10])
def test_an_interrupted_run_resumes_to_the_same_losses_and_weights(tmp_path: Path, stop_after: int) -> None:
    whole = start()
    expected = run(tmp_path / "whole", whole)

    def interrupt(step: int, loss: float) -> None:
        if step == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", after_step=interrupt)
    seen: list[int] = []
    torch.manual_seed(99)
    model = Transformer(text_config())  # other weights: those of the checkpoint replace them, if there is one
    if stop_after < 4:
        model = start()
    found = run(tmp_path / "run", model, after_step=lambda step, loss: seen.append(step))
    assert found == expected
    assert seen == list(range((stop_after + 1) // 5 * 5, 12))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert run(tmp_path / "run", start()) == expected  # a finished run has nothing left to do


def test_only_the_newest_checkpoint_stays_and_a_half_written_one_is_ignored(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole")
    assert [folder.name for folder in (tmp_path / "whole").iterdir()] == ["step-00000012"]

    def interrupt(step: int, loss: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", after_step=interrupt)
    half = tmp_path / "run" / ".writing-step-00000010"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert run(tmp_path / "run") == expected
    assert [folder.name for folder in (tmp_path / "run").iterdir()] == ["step-00000012"]


def test_an_error_while_a_checkpoint_is_written_loses_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(tmp_path / "whole")
    right, calls = loop_module.save_file, []

    def fails_later(*arguments: Any) -> None:
        calls.append(0)
        if len(calls) == 4:  # the optimizer of the second checkpoint
            raise OSError("No space left on device")
        right(*arguments)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(loop_module, "save_file", fails_later)
        run(tmp_path / "run")
    assert "step-00000005" in [folder.name for folder in (tmp_path / "run").iterdir()]
    assert run(tmp_path / "run") == expected


@pytest.mark.parametrize("changes", [{"learning_rate": 2e-2}, {"steps": 13}, {"documents_per_step": 5}])
def test_another_recipe_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    run(tmp_path)
    with pytest.raises(
        ValueError, match="holds a run with another recipe: give another folder, or remove it"
    ):
        run(tmp_path, config=replace(CONFIG, **changes))


def test_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        run(tmp_path, Transformer(text_config(context_length=40)))


def test_a_folder_that_cannot_be_is_known_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError):
        run(tmp_path / "file" / "run", after_step=lambda step, loss: pytest.fail("a step was made"))


def test_bfloat16_learns_about_the_same(tmp_path: Path) -> None:
    exact = run(tmp_path / "exact")
    model = start()
    rough = run(tmp_path / "rough", model, replace(CONFIG, precision="bfloat16"))
    assert rough == pytest.approx(exact, rel=0.1)
    assert rough != exact
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_gradient_is_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    right = torch.nn.utils.clip_grad_norm_

    def watched(parameters: Any, limit: float) -> Any:
        parameters = list(parameters)
        result = right(parameters, limit)
        norms.append(sum(p.grad.square().sum().item() for p in parameters) ** 0.5)
        return result

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    run(tmp_path, config=replace(CONFIG, clip_norm=0.01))
    assert len(norms) == 12
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "TrainingConfig.steps must be at least 1, found 0"),
        ({"documents_per_step": -1}, "documents_per_step must be at least 1, found -1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, found 0"),
        ({"warmup_steps": 12}, "warmup_steps must be from 0 to 11, found 12"),
        ({"balancing": -0.1}, "TrainingConfig.balancing must be at least 0, found -0.1"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_a_model_without_begin_and_end_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs bos_id and eos_id"):
        run(tmp_path, Transformer(text_config(eos_id=None)))


def test_there_must_be_experts_to_balance(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="balancing needs a model with a mixture of experts, found none"):
        run(tmp_path, config=replace(CONFIG, balancing=0.01))


def test_a_document_too_long_for_the_context_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a document of \d+ tokens does not fit into a row of 48"):
        train(start(), small_tokenizer(), lambda step, count: ["dog " * 99], CONFIG, tmp_path, progress=False)


def test_progress_is_shown_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(start(), small_tokenizer(), texts_of, CONFIG, tmp_path, progress=True)
    assert "12/12" in capsys.readouterr().err
    run(tmp_path / "quiet")
    assert capsys.readouterr().err == ""


def test_a_run_on_other_documents_is_refused(tmp_path: Path) -> None:
    recipe = TrainingConfig(steps=2, documents_per_step=2, warmup_steps=0)
    for seed, refused in ((0, False), (1, True)):
        (tmp_path / "texts.txt").write_text("one fish\n\ntwo fish\n\nred fish\n\nblue fish", "utf-8")
        source = TextFile(tmp_path / "texts.txt", seed)
        tokenizer = Tokenizer.train(source.documents, 270)
        model = Transformer(small_config(vocab_size=tokenizer.vocab_size, bos_id=0, eos_id=0))
        with pytest.raises(ValueError, match="another recipe") if refused else contextlib.nullcontext():
            train(model, tokenizer, source, recipe, tmp_path / "run", progress=False)


def test_a_document_that_is_too_long_is_named_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("short\n\n" + "word " * 60, "utf-8")
    source = TextFile(tmp_path / "texts.txt")
    tokenizer = Tokenizer.train(source.documents, 257)
    with pytest.raises(ValueError, match=r"document 2 of .*texts\.txt has 300 tokens .* a row holds 48"):
        source.check_lengths(tokenizer, 48)

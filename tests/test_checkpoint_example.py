"""The chapter's running example, as its page writes it: load Phi-3-mini, print it, one pass, the next token.

The model is small and random, made by the peer library; its folder is as microsoft/Phi-3-mini-4k-instruct's.
"""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from helpers import small_tokenizer

import llmref
from llmref.cli import cli

NAME = "microsoft/Phi-3-mini-4k-instruct"
PROMPT = "the dog saw the cat and the cat saw 강아지"
REAL = Path(__file__).parents[1] / "docs" / "models" / "phi-3-mini-4k.json"
SMALL = dict(
    vocab_size=320,
    hidden_size=24,
    intermediate_size=29,
    num_attention_heads=4,
    num_key_value_heads=4,
    num_hidden_layers=2,
    max_position_embeddings=48,
    original_max_position_embeddings=48,
    sliding_window=9,
)
BESIDES = dict(
    architectures=["Phi3ForCausalLM"],
    auto_map={
        "AutoConfig": "configuration_phi3.Phi3Config",
        "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
    },
    attention_dropout=0.0,
    bos_token_id=1,
    eos_token_id=300,
    pad_token_id=300,
    use_cache=True,
)
TRAP = "raise AssertionError('code of a checkpoint was run')\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of that format: two files of bfloat16 weights, and code that must never run."""
    folder = tmp_path_factory.mktemp("phi-3")
    values = json.loads(REAL.read_text("utf-8"))["config"] | SMALL | BESIDES
    torch.manual_seed(1)
    peer = transformers.AutoModelForCausalLM.from_config(transformers.Phi3Config(**values)).bfloat16()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    peer.save_pretrained(folder, max_shard_size="20KB")
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    ends = {"bos_token_id": 1, "eos_token_id": [300, 301, 307], "pad_token_id": 300}
    (folder / "generation_config.json").write_text(json.dumps(ends), "utf-8")
    small_tokenizer().save(folder / "tokenizer.json")
    for name in ("modeling_phi3.py", "configuration_phi3.py"):
        (folder / name).write_text(TRAP)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_the_running_example_works_as_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))

    model, tokenizer = llmref.load(NAME)
    print(model)
    ids = torch.tensor([tokenizer.encode(PROMPT)])
    with torch.no_grad():
        hidden = model.hidden_states(ids, llmref.sequential_positions(ids))
        logits = model.lm_head(hidden)
    next_id = int(logits[0, -1].argmax())
    text = tokenizer.decode([next_id])

    printed = capsys.readouterr().out
    for part in (
        "Transformer(",
        "(embedding): TokenEmbedding(320, 24)",
        "(0-1): 2 x TransformerBlock(",
        "(attention): MultiHeadAttention(",
        "(query): Linear(in_features=24, out_features=24, bias=False)",
        "(feedforward): FeedForward(",
        "(down): Linear(in_features=29, out_features=24, bias=False)",
        "(lm_head): Linear(in_features=24, out_features=320, bias=False)",
    ):
        assert part in printed
    assert ids.shape[1] > SMALL["sliding_window"]
    assert hidden.shape == (1, ids.shape[1], 24)
    assert logits.shape == (1, ids.shape[1], 320)
    assert model.config.end_ids == {300, 301, 307}
    assert text

    peer = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        theirs = peer.model(ids)[0]
        torch.testing.assert_close(hidden, theirs, rtol=0, atol=1e-4)
        torch.testing.assert_close(logits, peer.lm_head(theirs), rtol=0, atol=1e-4)
        assert next_id == int(peer.lm_head(theirs)[0, -1].argmax())


def test_the_same_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(["info", str(folder)], standalone_mode=False)
    printed = capsys.readouterr().out
    for part in (
        "320 entries",
        "4 heads, 4 key/value heads, head_dim 6, window 9",
        "d_ff 29, silu, gated",
        "rotary, base 10,000",
        "BF16, in ",
    ):
        assert part in printed

"""Records one run of the tiny model for the labs' text fallback: python record.py PROMPT FILE.

It runs apart from the site's builder, which does not import torch.
"""

import codecs
import json
import os
import sys
from pathlib import Path

import torch

import llmref
from llmref.decoding import strategy
from llmref.generation import generate_ids
from llmref.model import sequential_positions
from llmref.tokenizer import Tokenizer

MAX_NEW_TOKENS = 96
TEMPERATURE = 0.8
SEED = 1
LIKELIEST = 10


def main(prompt: str, file: Path) -> None:
    """Write what the model gave, step by step, as JSON."""
    torch.set_num_threads(1)
    model, tokenizer = llmref.load_tiny()
    given = [model.config.bos_id, *tokenizer.encode(prompt)]
    new = list(generate_ids(model, given, strategy(TEMPERATURE), MAX_NEW_TOKENS, seed=SEED))
    ids = torch.tensor([given + new])
    with torch.inference_mode():
        probabilities = model(ids, sequential_positions(ids))[0, len(given) - 1 :].softmax(dim=-1)
    code = (
        f"llmref.generate(model, tokenizer, {json.dumps(prompt, ensure_ascii=False)}, "
        f"max_new_tokens={MAX_NEW_TOKENS}, temperature={TEMPERATURE}, seed={SEED})"
    )
    text = llmref.generate(
        model, tokenizer, prompt, max_new_tokens=MAX_NEW_TOKENS, temperature=TEMPERATURE, seed=SEED
    )
    if text != tokenizer.decode(new):
        raise RuntimeError(f"{code} gave another text than the recorded ids")
    pieces = Pieces(tokenizer)
    record = {
        "prompt": prompt,
        "text": text,
        "code": code,
        "given": [pieces.take(token_id) for token_id in given[1:]],
        "steps": [
            {
                "likeliest": likeliest(pieces, row),
                "probability": float(row[token_id]),
                "token": pieces.take(token_id),
            }
            for token_id, row in zip(new, probabilities[:-1], strict=True)
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".part")
    half.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    os.replace(half, file)


class Pieces:
    """Tokens as the labs show them: the characters each completes, and its bytes that complete none yet."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.unfinished = b""

    def show(self, token_id: int) -> dict[str, str]:
        """A token, were it the next one."""
        return self._decode(token_id)[0]

    def take(self, token_id: int) -> dict[str, str]:
        """The next token."""
        shown, self.unfinished = self._decode(token_id)
        return shown

    def _decode(self, token_id: int) -> tuple[dict[str, str], bytes]:
        if token_id in self.tokenizer.special_tokens.values():
            return {"kind": "special", "text": "", "hex": ""}, b""
        own = self.tokenizer.token_bytes(token_id)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self.unfinished + own)
        unfinished = decoder.getstate()[0]
        if "\N{REPLACEMENT CHARACTER}" in text:  # bytes that can never be part of a character here
            return {"kind": "bytes", "text": "", "hex": own.hex(" ").upper()}, unfinished
        shown = {
            "kind": "text" if text.strip() or not unfinished else "bytes",
            "text": text,
            "hex": unfinished[-len(own) :].hex(" ").upper(),
        }
        return shown, unfinished


def likeliest(pieces: Pieces, row: torch.Tensor) -> list[dict[str, object]]:
    """The ten likeliest tokens, the likeliest first."""
    top = row.topk(LIKELIEST)
    return [
        {"token": pieces.show(int(token_id)), "probability": float(p)}
        for p, token_id in zip(top.values, top.indices, strict=True)
    ]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""Compiles the decode step of a small model, and holds it to the reference. test_fast.py runs it."""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from helpers import fresh_model, random_ids, small_config  # noqa: E402
from torch._dynamo.utils import counters  # noqa: E402

from llmref.decoding import strategy  # noqa: E402
from llmref.fast import prepare  # noqa: E402
from llmref.generation import generate_ids  # noqa: E402

model = fresh_model(small_config(n_blocks=1))
fast = prepare(model)
torch.compiler.set_stance("fail_on_recompile")  # whatever the text's length, and whoever made the ids
for length, new in ((1, 9), (7, 30)):
    prompt = random_ids(length).tolist()
    texts = [list(generate_ids(each, prompt, strategy(temperature=0), new)) for each in (model, fast)]
    assert texts[0] == texts[1] and len(texts[0]) == new, texts
assert not counters["graph_break"], counters["graph_break"]

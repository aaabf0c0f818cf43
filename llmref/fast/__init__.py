"""The fast path: what a model computes stays in the reference; how it is run is a thin layer, a file each.

`prepare` joins projections (`joined`) and gives each linear layer the way that suits its input (`linear`):
streamed for one token (`streaming_linear`), packed for several (`packed`). A step sees the used part of a
cache that stays in its place (`slots`), is compiled whole (`compiled`), and on a GPU recorded (`graphed`).
`decoder` puts it together.
"""

from llmref.fast.decoder import Decoder, prepare
from llmref.fast.joined import join_projections

__all__ = ["Decoder", "join_projections", "prepare"]

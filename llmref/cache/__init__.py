"""The KV cache: keys and values of the tokens already read, so that no step computes them twice.

A cache stores three things: the keys and the values of each block, and the position of each stored token. It
never works a position out for itself; the caller says where its tokens stand. Keys come to it rotated, so
that nothing stored ever has to be turned again.

What an attention layer keeps of a token is for its config to say (`cached`): a key and a value for each
key/value head, or the latent and one rotated key. So every cache here is a latent cache as well.
"""

from llmref.cache.growing import GrowingCache
from llmref.cache.protocol import Cache
from llmref.cache.quantized import QuantizedCache
from llmref.cache.rolling import RollingCache
from llmref.cache.static import StaticCache

__all__ = ["Cache", "GrowingCache", "QuantizedCache", "RollingCache", "StaticCache"]

"""Places in a model where a tensor can be seen, or replaced.

A site passes its tensor on unchanged and costs nothing until somebody hooks it: see `llmref.trace`.
"""

from torch import nn


def sites(*names: str) -> nn.ModuleDict:
    """One site for each name.

    >>> sorted(sites("query", "key"))
    ['key', 'query']
    """
    return nn.ModuleDict({name: nn.Identity() for name in names})

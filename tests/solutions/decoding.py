"""Decoding: draw a token by its probability, with nothing but one random number."""

from collections.abc import Sequence


def draw(probabilities: Sequence[float], number: float) -> int:
    """Walk along the ruler until the number is behind us."""
    end, last = 0.0, 0
    for token, probability in enumerate(probabilities):
        if probability == 0:
            continue
        end, last = end + probability, token
        if number < end:
            return token
    return last

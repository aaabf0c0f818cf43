"""The type checker that the tests give to jaxtyping: beartype, where it can read the annotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

NUMBERS = BeartypeConf(is_pep484_tower=True)  # an int may stand where a float is asked for, as in Python
UNCHECKED: dict[str, str] = {}  # the functions on tensors that beartype could not read, and why


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its arguments checked, or as it is if beartype cannot read its annotations.

    jaxtyping decorates methods one by one, and beartype reads `Self` on a decorated class only; nor can it
    check a protocol that is not checkable at run time. test_house holds that no function on tensors is among
    these.
    """
    try:
        return beartype(conf=NUMBERS)(function)
    except BeartypeDecorHintException as error:
        if "Tensor" in str(function.__annotations__):
            UNCHECKED[f"{function.__module__}.{function.__qualname__}"] = str(error)
        return function

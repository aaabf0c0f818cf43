"""Where weights can go."""

import torch


def find_device(device: str | torch.device) -> torch.device:
    """The device of that name, if it is there.

    Raises:
        ValueError: If there is no such device, or not on this machine.

    >>> find_device("toaster")
    Traceback (most recent call last):
    ...
    ValueError: no device 'toaster' on this machine; there is cpu...
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or not any(name == str(found) or name.split(":")[0] == str(found) for name in there):
        raise ValueError(f"no device {str(device)!r} on this machine; there is {', '.join(there)}")
    return found

"""The roofline: how fast a pass can be at best, on a device that computes so fast and reads so fast.

Computing and moving bytes go on at the same time, so the slower of the two sets the time. What a pass really
takes is more: this is a floor. Source: Williams et al., "Roofline: An Insightful Visual Performance Model for
Multicore Architectures" (2009).
"""

from dataclasses import dataclass
from typing import Literal

from llmref.cost import Cost, count, size


@dataclass(frozen=True)
class Device:
    """A device by two numbers, as its data sheet gives them.

    Attributes:
        name: What to call it.
        flops: FLOPs per second, at the dtype of the model.
        bandwidth: Bytes per second between its memory and where it computes.

    >>> Device("H100 SXM, bfloat16", flops=989e12, bandwidth=3.35e12)
    Device(name='H100 SXM, bfloat16', flops=989000000000000.0, bandwidth=3350000000000.0)
    >>> Device("broken", flops=0, bandwidth=1e12)
    Traceback (most recent call last):
    ...
    ValueError: Device.flops must be above 0, found 0
    """

    name: str
    flops: float
    bandwidth: float

    def __post_init__(self) -> None:
        for name in ("flops", "bandwidth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Device.{name} must be above 0, found {getattr(self, name)!r}")

    @property
    def balance(self) -> float:
        """How many FLOPs it computes in the time in which it moves a byte."""
        return self.flops / self.bandwidth


@dataclass(frozen=True)
class Pass:
    """One forward pass on a device.

    Attributes:
        device: The device.
        flops: The FLOPs that it computes.
        n_bytes: The bytes that it moves.

    >>> one = Pass(Device("slow", flops=100, bandwidth=10), flops=500, n_bytes=200)
    >>> one.seconds, one.bound, one.intensity  # 5 s of computing, 20 s of moving bytes
    (20.0, 'memory', 2.5)
    """

    device: Device
    flops: int
    n_bytes: int

    @property
    def seconds(self) -> float:
        """The least time that it can take."""
        return max(self.flops / self.device.flops, self.n_bytes / self.device.bandwidth)

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: the FLOPs for each byte that is moved."""
        return self.flops / self.n_bytes

    @property
    def bound(self) -> Literal["compute", "memory"]:
        """Which of the two sets the time."""
        return "compute" if self.intensity >= self.device.balance else "memory"


@dataclass(frozen=True)
class Roofline:
    """A prefill and a decode step on a device; `print` shows them as a table.

    Attributes:
        cost: What the model costs.
        device: The device.
    """

    cost: Cost
    device: Device

    @property
    def prefill(self) -> Pass:
        """The pass over all tokens of the context."""
        return Pass(self.device, self.cost.total.prefill_flops, self.cost.prefill_bytes)

    @property
    def decode(self) -> Pass:
        """The step that computes the last token of the context."""
        return Pass(self.device, self.cost.total.decode_flops, self.cost.decode_bytes)

    def __str__(self) -> str:
        device = self.device
        lines = [
            f"{device.name}: {count(device.flops)}FLOP/s, {count(device.bandwidth)}B/s, "
            f"{count(device.balance)}FLOP/byte",
            f"batch {self.cost.batch}, context {self.cost.context:,}",
            f"{'':8}{'computes':>14}{'moves':>12}{'FLOP/byte':>12}{'time':>10}  bound by",
        ]
        for name in ("prefill", "decode"):
            one: Pass = getattr(self, name)
            lines.append(
                f"{name:8}{count(one.flops) + 'FLOP':>14}{size(one.n_bytes):>12}"
                f"{count(one.intensity).strip():>12}{duration(one.seconds):>10}  {one.bound}"
            )
        return "\n".join(lines)


def roofline(cost: Cost, device: Device) -> Roofline:
    """How long a prefill and a decode step take at least.

    Each weight that is multiplied by is read once for the whole batch. The cache is written once by the
    prefill, and read once by the decode step. What lies between two layers counts as never leaving the chip.

    >>> import llmref
    >>> model, _ = llmref.load_tiny()
    >>> print(roofline(llmref.cost(model.config, context=128), Device("laptop", 1e12, 100e9)))
    laptop: 1 TFLOP/s, 100 GB/s, 10 FLOP/byte
    batch 1, context 128
                  computes       moves   FLOP/byte      time  bound by
    prefill     329 MFLOP     2.3 MiB         137    329 µs  compute
    decode     2.57 MFLOP     2.3 MiB        1.07   24.1 µs  memory
    """
    return Roofline(cost, device)


def duration(seconds: float) -> str:
    """A time in short.

    >>> duration(0.00123), duration(90), duration(4.2e-8)
    ('1.23 ms', '90 s', '42 ns')
    """
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= 0.9995 * length or unit == "ns":
            break
    value = seconds / length
    return f"{value:,.0f} {unit}" if value >= 999.5 else f"{value:.3g} {unit}"

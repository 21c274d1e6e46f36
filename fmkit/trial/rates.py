"""What PyTorch reaches on this machine, with the calls that models make: linear layers, attention, and the launching of a layer.

Copy bandwidth is the wrong roof for torch: a linear layer over one token reads its weights at half of it on a CPU. So the calls
themselves are timed, over weights that no cache holds, for few tokens (decoding) and many (a prompt).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, get_args

import msgspec
import torch

from fmkit.speed.rates import Call, CallPoint, ModelPoint, RatePoint, TorchRates, spread_of
from fmkit.trial.device_calls import DeviceCalls, DeviceName, Shapes, TimedCall, eight_bit
from fmkit.trial.narrow_layer import NarrowLayer
from fmkit.trial.processor_calls import ProcessorCalls
from fmkit.trial.turns import Round, in_turns

if TYPE_CHECKING:
    from fmkit.trial.small_models import Passes

SLICE_S, THOROUGH_SLICE_S = 0.06, 0.2
"""Seconds of each call's rounds; imports, allocations and first rounds come on top, and long calls take what they take."""

CPU_SHAPES = Shapes(
    hidden=2048, inner=5632, weights=8, few_tokens=(1, 4, 16), many_tokens=(64, 512), heads=16, kv_heads=4, head_dim=64,
    cached=1024, sequences=4, dtypes=("float32", "bfloat16"),
)  # fmt: skip
GPU_SHAPES = Shapes(
    hidden=4096, inner=14336, weights=8, few_tokens=(1, 4, 16, 64), many_tokens=(128, 512, 2048), heads=32, kv_heads=8,
    head_dim=128, cached=4096, sequences=8, dtypes=("bfloat16", "float16", "float32"),
)  # fmt: skip

SLOW_DTYPE = "float16"
"""Few models run in it on a processor, for it is a hundredth as fast on most: timed when all is, over fewer tokens."""

SCANNED = ((1, 64), (4, 64), (1, 512), (4, 512))
"""Sequences and tokens of the prompts that a small Mamba reads; it goes on with one sequence and with several."""


def torch_devices() -> tuple[DeviceName, ...]:
    """The accelerator that torch can run models on here, if any, and the processor."""
    if torch.cuda.is_available():
        return ("cuda", "cpu")
    if torch.backends.mps.is_available():
        return ("mps", "cpu")
    return ("xpu", "cpu") if torch.xpu.is_available() else ("cpu",)


def measure_torch(
    device: DeviceName,
    say: Callable[[str], None],
    *,
    thorough: bool = False,
    shapes: Shapes | None = None,
    slice_s: float | None = None,
) -> TorchRates:
    """Time the calls on `device`; `say` hears what is being measured.

    `thorough` takes three times as long over each, and on a processor times those that few models make too. `shapes` and `slice_s` default
    to those of the kind of device. A call that the device has no kernel for leaves its rate out.
    """
    bench = Bench(
        device,
        shapes or (CPU_SHAPES if device == "cpu" else GPU_SHAPES),
        slice_s or (THOROUGH_SLICE_S if thorough else SLICE_S),
        thorough=thorough,
    )
    with torch.inference_mode():
        say(f"launching layers on {device}")
        layer_s = bench.layer_s()
        found = Found()
        for dtype in bench.shapes.dtypes:
            say(f"the calls of models in {dtype} on {device}")
            bench.time_type(dtype, found)
        if device == "cpu" and thorough:
            say(f"linear layers and attention in {SLOW_DTYPE} on {device}")
            bench.time_slow_type(found)
        if device == "cuda":
            say("8-bit matrix rates")
            bench.time_calls(list(eight_bit(device, bench.shapes)), found)
        return TorchRates(
            device=device,
            device_name=torch.cuda.get_device_name() if device == "cuda" else device,
            version=str(torch.__version__),
            threads=torch.get_num_threads(),
            layer_s=layer_s,
            weight_bytes=tuple(found.rates("weight-bytes")),
            operations=tuple(found.rates("operations")),
            attention_macs=tuple(found.rates("attention-macs")),
            copy_bytes_per_s=bench.copy_bytes_per_s(),
            host_to_device_bytes_per_s=None if device == "cpu" else bench.host_to_device_bytes_per_s(),
            calls=tuple(found.calls()),
            in_model=tuple(found.in_model),
        )


class Found:
    """What was found so far: calls with the seconds of their rounds, and points of small models."""

    def __init__(self) -> None:
        self.timed: list[tuple[TimedCall, list[float]]] = []
        self.in_model: list[ModelPoint] = []

    def rates(self, rate: str) -> list[RatePoint]:
        """The points of one rate; none of a call without rounds."""
        return [
            RatePoint(dtype=call.dtype, tokens=call.tokens, per_s=call.work / median(rounds), spread=spread_of(rounds))
            for call, rounds in self.timed
            if call.rate == rate and rounds
        ]

    def calls(self) -> list[CallPoint]:
        """The points of the calls that a processor is timed with beside the others."""
        return [
            CallPoint(call=name, **msgspec.structs.asdict(point))
            for name in get_args(Call)
            for point in self.rates(name)
        ]


class Bench:
    """Timed calls on one device, each for about `slice_s` seconds."""

    def __init__(self, device: DeviceName, shapes: Shapes, slice_s: float, *, thorough: bool = False) -> None:
        self.device = device
        self.shapes = shapes
        self.slice_s = slice_s
        self.thorough = thorough

    def layer_s(self) -> float:
        """Seconds to launch all operations of one decoder layer, as `transformers` spells them."""
        layers = [NarrowLayer(self.device) for _ in range(16)]
        hidden = torch.zeros(1, 1, NarrowLayer.WIDTH, device=self.device)

        def run() -> None:
            for layer in layers:
                layer(hidden)

        return self.median_s(run) / len(layers)

    def time_type(self, dtype: str, found: Found) -> None:
        """Time all calls in one type in turns; on a processor small models too, where transformers and accelerate are there."""
        device_calls = DeviceCalls(self.device, self.shapes, dtype)
        calls = [*device_calls.linear(), *device_calls.attention()]
        if self.device != "cpu":
            self.time_calls(calls, found)
            return
        further = ProcessorCalls(self.shapes, dtype, device_calls.weights)
        calls += [*further.common(), *(further.rare() if self.thorough else ())]
        self.time_calls(calls, found, self._small_models(dtype))

    def time_slow_type(self, found: Found) -> None:
        """Time the calls in a type that is slow on a processor."""
        fewer = msgspec.structs.replace(self.shapes, many_tokens=self.shapes.many_tokens[:1])
        calls = DeviceCalls(self.device, fewer, SLOW_DTYPE)
        self.time_calls([*calls.linear(), *calls.attention()], found)

    def time_calls(self, calls: Sequence[TimedCall], found: Found, passes: Sequence[Passes] = ()) -> None:
        """Time the calls in turns, with passes of small models between them."""
        rounds = in_turns([*(partial(self._round, call.run) for call in calls), *passes], self.slice_s)
        for call, of in zip(calls, rounds[: len(calls)], strict=True):
            done = msgspec.structs.replace(call, run=_nothing)  # its tensors are not needed any more
            found.timed.append((done, [sum(one) for one in of]))
        attention = found.rates("attention-macs")
        timed = zip(passes, rounds[len(calls) :], strict=True)
        found.in_model += [each.point(of, attention) for each, of in timed if of]

    def _small_models(self, dtype: str) -> list[Passes]:
        """Passes of a small Llama, and of a small Mamba where all is timed."""
        if find_spec("transformers") is None or find_spec("accelerate") is None:
            return []
        from transformers.utils import logging as transformers_logging  # noqa: PLC0415  2 s

        from fmkit.trial.small_models import MambaShape, SmallModel  # noqa: PLC0415

        transformers_logging.set_verbosity_error()  # kernels that a processor has not anyway
        llama = SmallModel(dtype).passes((*self.shapes.few_tokens, *self.shapes.many_tokens))
        if not self.thorough:
            return llama
        mamba = SmallModel(dtype, MambaShape())
        steps = [mamba.steps(sequences) for sequences in dict.fromkeys(sequences for sequences, _ in SCANNED)]
        return llama + steps + [mamba.prompts(tokens, sequences) for sequences, tokens in SCANNED]

    def copy_bytes_per_s(self) -> float:
        """Bytes read plus bytes written per second by a copy inside the device's memory."""
        elements = 2**26 if self.device == "cpu" else 2**28
        source = torch.ones(elements, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * elements / self.median_s(lambda: target.copy_(source))

    def host_to_device_bytes_per_s(self) -> float:
        """Bytes per second of a copy from ordinary host memory to the device: how off-loaded weights travel."""
        elements = 2**27
        source = torch.ones(elements, dtype=torch.uint8)
        return elements / self.median_s(lambda: source.to(self.device))

    def median_s(self, call: Callable[[], object]) -> float:
        """Median seconds of one call's rounds."""
        return median(sum(one) for one in in_turns([partial(self._round, call)], self.slice_s)[0])

    def _round(self, call: Callable[[], object]) -> Round:
        """One round, until the device has done what it was handed."""
        started = time.perf_counter()
        call()
        if self.device != "cpu":
            getattr(torch, self.device).synchronize()
        return (time.perf_counter() - started,)


def _nothing() -> None:
    """What a call does once it was timed."""

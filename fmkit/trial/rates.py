"""What PyTorch reaches on this machine, with the calls that models make: linear layers, attention, and the launching of a layer.

Copy bandwidth is the wrong roof for torch: a linear layer over one token reads its weights at half of it on a CPU. So the calls
themselves are timed, over weights that no cache holds, for few tokens (decoding) and many (a prompt).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import Literal

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from fmkit.speed.rates import CallPoint, ModelPoint, RatePoint, TorchRates, spread_of
from fmkit.trial.narrow_layer import NarrowLayer
from fmkit.trial.processor_calls import ProcessorCalls

DeviceName = Literal["cpu", "cuda", "mps", "xpu"]

LEAST_ROUNDS = 3
TOO_SLOW_S = 0.5
"""A round that takes longer is not repeated, and no larger number of tokens is tried in its type where it would."""

PROCESSOR_DTYPES = ("float32", "bfloat16")
"""Types that models run in on a processor; float16 is a hundredth as fast there."""


class Shapes(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the calls on one kind of device: a model of a size that people run there.

    `weights` matrices of `hidden` x `inner` are used in turn, so that no cache holds them. `heads` over `kv_heads` of `head_dim`
    attend to `cached` tokens in `sequences` sequences.
    """

    hidden: int
    inner: int
    weights: int
    few_tokens: tuple[int, ...]
    many_tokens: tuple[int, ...]
    heads: int
    kv_heads: int
    head_dim: int
    cached: int
    sequences: int
    dtypes: tuple[str, ...]


CPU_SHAPES = Shapes(
    hidden=2048, inner=5632, weights=8, few_tokens=(1, 4, 16), many_tokens=(64, 512), heads=16, kv_heads=4, head_dim=64,
    cached=1024, sequences=4, dtypes=("float32", "bfloat16", "float16"),
)  # fmt: skip
GPU_SHAPES = Shapes(
    hidden=4096, inner=14336, weights=8, few_tokens=(1, 4, 16, 64), many_tokens=(128, 512, 2048), heads=32, kv_heads=8,
    head_dim=128, cached=4096, sequences=8, dtypes=("bfloat16", "float16", "float32"),
)  # fmt: skip


def torch_devices() -> tuple[DeviceName, ...]:
    """The accelerator that torch can run models on here, if any, and the processor."""
    if torch.cuda.is_available():
        return ("cuda", "cpu")
    if torch.backends.mps.is_available():
        return ("mps", "cpu")
    return ("xpu", "cpu") if torch.xpu.is_available() else ("cpu",)


def measure_torch(
    device: DeviceName, budget_s: float, say: Callable[[str], None], shapes: Shapes | None = None
) -> TorchRates:
    """Time the calls on `device` in about `budget_s` seconds; `say` hears what is being measured.

    `shapes` defaults to those of the kind of device. A call that the device has no kernel for leaves its rate out.
    """
    chosen = shapes or (CPU_SHAPES if device == "cpu" else GPU_SHAPES)
    bench = Bench(device, chosen, budget_s / (len(chosen.dtypes) * 8 + 4))
    with torch.inference_mode():
        say(f"launching layers on {device}")
        layer_s = bench.layer_s()
        few, many, attention, calls = [], [], [], []
        for dtype in chosen.dtypes:
            say(f"linear layers and attention in {dtype} on {device}")
            found = list(bench.linear(dtype))
            few += [_weight_rate(point, dtype) for point in found if point.tokens in chosen.few_tokens]
            many += [point for point in found if point.tokens in chosen.many_tokens]
            attention += list(bench.attention(dtype))
            calls += list(bench.processor_calls(dtype)) if device == "cpu" and dtype in PROCESSOR_DTYPES else []
        if device == "cuda":
            say("8-bit matrix rates")
            many += list(bench.eight_bit())
        copy_bytes_per_s = bench.copy_bytes_per_s()
        return TorchRates(
            device=device,
            device_name=torch.cuda.get_device_name() if device == "cuda" else device,
            version=str(torch.__version__),
            threads=torch.get_num_threads(),
            layer_s=layer_s,
            weight_bytes=tuple(few),
            operations=tuple(many),
            attention_macs=tuple(attention),
            copy_bytes_per_s=copy_bytes_per_s,
            host_to_device_bytes_per_s=None if device == "cpu" else bench.host_to_device_bytes_per_s(),
            calls=tuple(calls),
            in_model=tuple(_in_model(bench, attention, say)) if device == "cpu" else (),
        )


def _in_model(bench: Bench, attention: list[RatePoint], say: Callable[[str], None]) -> Iterator[ModelPoint]:
    """Points of a small Llama in the types that models run in on a processor; none without transformers and accelerate."""
    if find_spec("transformers") is None or find_spec("accelerate") is None:
        return
    from fmkit.trial.small_llama import SmallLlama  # noqa: PLC0415  2 s: transformers

    for dtype in bench.shapes.dtypes:
        if dtype in PROCESSOR_DTYPES:
            say(f"a small Llama in {dtype}")
            llama = SmallLlama(dtype, tuple(point for point in attention if point.dtype == dtype), bench.slice_s)
            yield from llama.points((*bench.shapes.few_tokens, *bench.shapes.many_tokens))


def _weight_rate(point: RatePoint, dtype: str) -> RatePoint:
    """Operations per second of a linear layer as bytes of weights per second: 2 operations per weight and token."""
    element_bytes = getattr(torch, dtype).itemsize
    return msgspec.structs.replace(point, per_s=point.per_s * element_bytes / (2 * point.tokens))


class Bench:
    """Timed calls on one device, each for about `slice_s` seconds."""

    def __init__(self, device: DeviceName, shapes: Shapes, slice_s: float) -> None:
        self.device = device
        self.shapes = shapes
        self.slice_s = slice_s

    def layer_s(self) -> float:
        """Seconds to launch all operations of one decoder layer, as `transformers` spells them."""
        layers = [NarrowLayer(self.device) for _ in range(16)]
        hidden = torch.zeros(1, 1, NarrowLayer.WIDTH, device=self.device)

        def run() -> None:
            for layer in layers:
                layer(hidden)

        return median(self.rounds(run)) / len(layers)

    def processor_calls(self, dtype: str) -> Iterator[CallPoint]:
        """Rates of the calls that a processor is timed with beside the others; those that it is too slow for are left out."""
        calls = ProcessorCalls(self.shapes, getattr(torch, dtype))
        for call, tokens, work, run in calls.all():
            rounds = self._tried(run)
            if rounds:
                point = _point(dtype, tokens, work, rounds)
                yield CallPoint(call=call, **msgspec.structs.asdict(point))

    def linear(self, dtype: str) -> Iterator[RatePoint]:
        """Operations per second of linear layers over each number of tokens; fewer points where the type is too slow."""
        kind, shapes = getattr(torch, dtype), self.shapes
        weights = [self._full(kind, shapes.inner, shapes.hidden) for _ in range(shapes.weights)]
        counts = (*shapes.few_tokens, *shapes.many_tokens)
        for tokens, following in pairwise((*counts, 0)):
            used = weights if tokens in shapes.few_tokens or self.device != "cpu" else weights[:2]
            rounds = self._tried(partial(_linear_layers, self._full(kind, 1, tokens, shapes.hidden), used))
            if not rounds:
                return
            operations = 2.0 * tokens * shapes.hidden * shapes.inner * len(used)
            yield _point(dtype, tokens, operations, rounds)
            slower = following / tokens if tokens in shapes.many_tokens else 1.0
            if rounds[0] * slower > TOO_SLOW_S:
                return

    def attention(self, dtype: str) -> Iterator[RatePoint]:
        """Multiply-adds per second of attention: one token over the cache, and a prompt over itself."""
        shapes, kind = self.shapes, getattr(torch, dtype)
        prompts = shapes.many_tokens[:1] + shapes.many_tokens[-1:] if self.device == "cpu" else shapes.many_tokens[-1:]
        for tokens, cached, sequences, causal in (
            (1, shapes.cached, shapes.sequences, False),
            *((prompt, prompt, 1, True) for prompt in dict.fromkeys(prompts)),
        ):
            query = self._full(kind, sequences, shapes.heads, tokens, shapes.head_dim)
            keys = self._full(kind, sequences, shapes.kv_heads, cached, shapes.head_dim)
            values = self._full(kind, sequences, shapes.kv_heads, cached, shapes.head_dim)
            rounds = self._tried(
                partial(functional.scaled_dot_product_attention, query, keys, values, is_causal=causal, enable_gqa=True)
            )
            if not rounds:
                return
            pairs = tokens * (cached + 1) / 2 if causal else tokens * cached
            yield _point(dtype, tokens, 2.0 * sequences * shapes.heads * shapes.head_dim * pairs, rounds)

    def eight_bit(self) -> Iterator[RatePoint]:
        """Operations per second of matrix products in float8 (e4m3, scaled) and int8, where the card has them."""
        hidden, inner = self.shapes.hidden, self.shapes.inner
        tokens = self.shapes.many_tokens[-1]
        operations = 2.0 * tokens * hidden * inner
        one = torch.ones((), device=self.device)
        for dtype in ("float8_e4m3fn", "int8"):
            kind = getattr(torch, dtype)
            rows = torch.ones(tokens, hidden, device=self.device).to(kind)
            weight = torch.ones(inner, hidden, device=self.device).to(kind)
            if dtype == "int8":
                call = partial(torch._int_mm, rows, weight.t())  # noqa: SLF001  its only name
            else:
                call = partial(torch._scaled_mm, rows, weight.t(), one, one, out_dtype=torch.bfloat16)  # noqa: SLF001
            rounds = self._tried(call)
            if rounds:
                yield _point(dtype, tokens, operations, rounds)

    def copy_bytes_per_s(self) -> float:
        """Bytes read plus bytes written per second by a copy inside the device's memory."""
        elements = 2**26 if self.device == "cpu" else 2**28
        source = torch.ones(elements, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * elements / median(self.rounds(lambda: target.copy_(source)))

    def host_to_device_bytes_per_s(self) -> float:
        """Bytes per second of a copy from ordinary host memory to the device: how off-loaded weights travel."""
        elements = 2**27
        source = torch.ones(elements, dtype=torch.uint8)
        return elements / median(self.rounds(lambda: source.to(self.device)))

    def _full(self, kind: torch.dtype, *shape: int) -> Tensor:
        """A tensor of small equal numbers: nothing overflows, and no value makes a call faster."""
        with torch.inference_mode(
            mode=False
        ):  # as a model's: some calls take another way with tensors made in this mode
            return torch.full(shape, 0.01, dtype=kind, device=self.device)

    def _tried(self, call: Callable[[], object]) -> list[float]:
        """Seconds of each round; none where the device has no kernel for the call, or no memory."""
        try:
            return self.rounds(call)
        except (RuntimeError, NotImplementedError, ValueError):
            return []

    def rounds(self, call: Callable[[], object]) -> list[float]:
        """Seconds of each of several calls after a first that does not count, for about `slice_s` seconds."""
        call()
        self._wait()
        rounds: list[float] = []
        end = time.perf_counter() + self.slice_s
        while len(rounds) < LEAST_ROUNDS or time.perf_counter() < end:
            started = time.perf_counter()
            call()
            self._wait()
            rounds.append(time.perf_counter() - started)
            if rounds[-1] > TOO_SLOW_S:
                break
        return rounds

    def _wait(self) -> None:
        """Wait until the device has done what it was handed."""
        if self.device != "cpu":
            getattr(torch, self.device).synchronize()


def _linear_layers(rows: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        functional.linear(rows, weight)


def _point(dtype: str, tokens: int, work: float, rounds: list[float]) -> RatePoint:
    return RatePoint(dtype=dtype, tokens=tokens, per_s=work / median(rounds), spread=spread_of(rounds))

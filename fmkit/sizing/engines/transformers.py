"""Hugging Face transformers 5.23: the cache grows by concatenation, sliding layers keep the prompt alive after prefill."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.errors import UsageError
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.activations import Activations
from fmkit.sizing.cache import ModelCache
from fmkit.sizing.device_map import unfolded
from fmkit.sizing.drafts import DraftLine, Words
from fmkit.sizing.engines.plan import Plan, cache_dtype, encoder_tokens_for, is_cpu, total
from fmkit.sizing.engines.transformers_cache import CachePlan, cache_plan
from fmkit.sizing.engines.transformers_heap import QuantisedOnCpu
from fmkit.sizing.engines.transformers_options import settings_from
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.forward import Moment, Pass, PassKind
from fmkit.sizing.held import without_fused_kernel
from fmkit.sizing.weights import weight_lines
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.device_map import NamedGroups
    from fmkit.sizing.drafts import Line
    from fmkit.sizing.estimate import TracedPeaks, Workload


class Share(NamedTuple):
    """What one device holds of a divided model, whatever the work: its weights, which part they are, and what lies elsewhere for it."""

    weights: TransformersWeights
    holds: str
    brought_in: tuple[MemoryLine, ...] = ()
    host: tuple[MemoryLine, ...] = ()
    disk: tuple[MemoryLine, ...] = ()


class Division(NamedTuple):
    """A model over devices by device_map, whatever the work. `refused` says why transformers does not load it so."""

    shares: tuple[Share, ...]
    warnings: tuple[str, ...] = ()
    refused: str | None = None


UNPACKED = ("bnb-nf4-dq", "bnb-nf4", "bnb-fp4")
"""Layouts whose matrices bitsandbytes unpacks on a GPU for a product over more than a few tokens."""

UNPACKED_ANYWHERE = ("torchao-int8",)
"""Layouts whose matrices are unpacked for every product, on a CPU too. Source: torchao 0.18 Int8Tensor, weights alone quantised; as traced."""

IN_INT8 = ("bnb-llm-int8",)
"""Layouts whose products bitsandbytes makes in 8 bit on a GPU."""


class TransformersModel:
    """A model as transformers runs it, whatever its layout: what it keeps and what its passes hold."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.cache = ModelCache(spec)
        self.without_fused_kernel = without_fused_kernel(spec)
        self._activations: dict[PassKind, Activations] = {}

    @cached_property
    def named_groups(self) -> NamedGroups:
        """Its tensors by name, as they are placed on devices."""
        return unfolded(self.spec)

    def at(self, layout: Layout) -> TransformersWeights:
        """The model with its weights in a layout."""
        return TransformersWeights(self, layout)

    def activations(self, kind: PassKind) -> Activations:
        """What passes of that kind hold."""
        found = self._activations.get(kind)
        if found is None:
            found = self._activations[kind] = Activations(self.spec, kind)
        return found


class TransformersWeights:
    """A model at one layout in transformers, sized at any workload and on any machine."""

    def __init__(self, model: TransformersModel, layout: Layout) -> None:
        self.model = model
        self.spec = model.spec
        self.layout = layout
        self.dtype = cache_dtype(model.spec, layout)
        by_matrix = layout.id in (*UNPACKED, *UNPACKED_ANYWHERE, *IN_INT8)
        self._matrix_bytes = _quantised_matrix_bytes(model.spec, layout) if by_matrix else 0
        self._quantised_here = QuantisedOnCpu(model.spec, layout, self.dtype)
        self.divisions: dict[tuple[object, ...], Division] = {}

    @property
    def beside(self) -> tuple[object, ...]:
        """What the bytes beside the weights depend on; equal for layouts that differ in their weights only."""
        return (
            self.dtype,
            self._unpacks(on_cpu=False),
            self._unpacks(on_cpu=True),
            self._matrix_bytes,
            self._quantised_here.sizes,
        )

    def _unpacks(self, *, on_cpu: bool) -> bool:
        """Whether matrices are unpacked for their products there."""
        return self.layout.id in UNPACKED_ANYWHERE or (self.layout.id in UNPACKED and not on_cpu)

    @cached_property
    def weights(self) -> tuple[MemoryLine, ...]:
        """The lines of the weights."""
        return weight_lines(self.spec, self.layout)

    @cached_property
    def _quantised_elements(self) -> int:
        return sum(group.elements for group in self.spec.tensors if self.layout.quantises(group))

    def plan(self, workload: Workload, machine: Machine | None) -> Plan:
        """What transformers holds beside the weights: cache, one decode step, and the worst moment of prefill beyond them."""
        spec = self.spec
        settings = settings_from(workload.options, workload.context_tokens)
        on_cpu = is_cpu(machine)
        matrix_bytes = self._matrix_bytes
        run = Pass(
            workload=workload,
            encoder_tokens=encoder_tokens_for(spec, workload),
            element_bytes=DTYPE_BYTES[self.dtype],
            on_cpu=on_cpu,
            all_logits=settings.all_logits,
            chunk_tokens=settings.chunk_tokens,
            unpacked_bytes=matrix_bytes if self._unpacks(on_cpu=on_cpu) else 0,
            in_int8=matrix_bytes > 0 and not on_cpu and self.layout.id in IN_INT8,
        )
        activations = self.model.activations(run.kind)
        cache = cache_plan(spec, settings, run, self.model.cache)
        decode = _decode_lines(self.model.cache, activations, run, cache)
        steady_bytes = total(cache.lines) + total(decode)
        prefill = _prefill_lines(activations, run, cache, steady_bytes)
        if on_cpu:
            reused_bytes = steady_bytes + total(prefill)
            prefill += self._quantised_here.peak_lines(run, reused_bytes)
            decode += self._quantised_here.steady_lines(machine)
        return Plan(
            cache_dtype=self.dtype,
            encoder_tokens=run.encoder_tokens,
            weights=self.weights,
            cache=cache.lines,
            decode=decode,
            prefill=prefill,
            warnings=(
                *self._score_warnings(activations, run, prefill),
                *self._int8_warnings(activations, run, cache, steady_bytes, prefill),
            ),
        )

    def _score_warnings(self, activations: Activations, run: Pass, prefill: tuple[Line, ...]) -> tuple[str, ...]:
        """A word where score matrices are most of what prefill takes, and what does without them.

        UsageError for flash attention that is not there.
        """
        eager, model_type = self.model.without_fused_kernel, self.spec.model_type
        if eager is None:
            return ()
        if run.workload.attention == "flash" and not eager.flash:
            raise UsageError(
                f"transformers has no flash attention for {model_type}: it computes its scores as matrices",
                where="--attention",
                next_command="leave out --attention, or read the prompt in pieces: --engine-option prefill_chunk_size=1024",
            )
        scores = activations.score_bytes(run)
        if scores < MUCH_BYTES or scores < total(prefill) // 2:
            return ()
        ways = [*(["--attention flash"] if eager.flash else []), "--engine-option prefill_chunk_size=1024"]
        said = f"{model_type} has no fused attention in transformers by default: {format_bytes(scores)} of prefill are score matrices"
        return (f"{said}, which grow with tokens squared; without them: {' or '.join(ways)}",)

    def _int8_warnings(
        self,
        activations: Activations,
        run: Pass,
        cache: CachePlan,
        steady_bytes: int,
        prefill: tuple[Line, ...],
    ) -> tuple[str, ...]:
        """A word where what products in 8 bit hold while the prompt is read exceeds what 8-bit weights save."""
        if not run.in_int8:
            return ()
        worst = _worst(activations, msgspec.structs.replace(run, in_int8=False), cache)
        plain = 0 if worst is None else max(0, _held(worst, cache) - steady_bytes)
        beyond = total(prefill) - plain
        if beyond <= self._quantised_elements:
            return ()
        return (
            f"{self.layout.name} makes its products in int32, {format_bytes(beyond)} more than 16 bit while a prompt this long is read: more than its weights save",
        )


MUCH_BYTES = GIB
"""Score matrices below this are no reason for a warning."""


def _quantised_matrix_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Bytes in 16 bit of the largest matrix of a feed-forward that the layout quantises; 0 where it quantises none."""
    found = (
        group.elements // group.count
        for group in spec.tensors
        if group.part == "mlp" and len(group.shape) == 2 and layout.quantises(group)
    )
    return 2 * max(found, default=0)


def _decode_lines(model: ModelCache, activations: Activations, run: Pass, cache: CachePlan) -> tuple[Line, ...]:
    moment = _traced_decode(model, run) or activations.decode(run, cache.growth_bytes)
    if moment is None:
        return ()
    return (DraftLine(f"activations: {moment.name}", moment.bytes, "steady", moment.words),)


def _held(moment: Moment, cache: CachePlan) -> int:
    """Bytes at a moment of prefill, with the cache where that is there already."""
    return moment.bytes + (cache.prefill_bytes if moment.holds_cache else 0)


def _worst(activations: Activations, run: Pass, cache: CachePlan) -> Moment | None:
    """The moment of prefill that holds most; None for a device that holds no block and no head."""
    traced = run.workload.traced
    if traced is not None:
        return _traced_prefill(traced, cache.prefill_bytes)
    moments = activations.prefill(run, cache.quantising_bytes)
    return max(moments, key=lambda moment: _held(moment, cache), default=None)


def _prefill_lines(activations: Activations, run: Pass, cache: CachePlan, steady_bytes: int) -> tuple[Line, ...]:
    """What the worst moment of prefill holds beyond the steady state (`steady_bytes`), as lines."""
    worst = _worst(activations, run, cache)
    if worst is None:
        return ()
    held = _held(worst, cache)
    beyond = max(0, held - steady_bytes)
    kept = min(cache.kept_bytes, beyond) if worst.holds_cache else 0
    lines: list[Line] = []
    if kept:
        lines.append(
            MemoryLine(
                part="cache: prompt kept after prefill",
                bytes=kept,
                phase="prefill",
                basis="formula",
                reason="sliding layers keep the whole prompt alive until the first decode step",
                source="transformers 5.23 DynamicSlidingWindowLayer; checked by filling a cache",
                formula=f"tokens beyond the window x bytes per token, over all sliding layers = {cache.kept_bytes:,} B",
            )
        )
    if beyond > kept:
        words = partial(_words_beyond, worst, held, beyond)
        lines.append(DraftLine(f"activations: {worst.name}", beyond - kept, "prefill", words))
    return tuple(lines)


def _words_beyond(worst: Moment, held: int, beyond: int) -> Words:
    """The words of the worst moment, and what of its bytes is counted elsewhere."""
    words = worst.words()
    counted = f"{held - beyond:,} B of the moment's {held:,} B are in the steady state"
    return words._replace(formula=f"{words.formula}; {counted}")


def _traced_prefill(traced: TracedPeaks, held: int) -> Moment:
    """The traced peak of prefill as a moment; `held` bytes of it are cache."""
    return Moment(
        name="prefill, traced",
        bytes=traced.prefill_bytes - held,
        words=lambda: Words(
            basis="measured",
            reason="traced: the most that the real implementation holds at once",
            formula=f"{traced.prefill_bytes:,} B traced, {held:,} B of them cache",
            source=traced.source,
        ),
    )


def _traced_decode(cache: ModelCache, run: Pass) -> Moment | None:
    """The traced peak of the step after prefill, less the cache of one token more."""
    traced = run.workload.traced
    if traced is None or traced.decode_bytes is None:
        return None
    held = cache.bytes(run.workload.context_tokens + 1, run.encoder_tokens, run.sequences, run.element_bytes)
    return Moment(
        name="decode step, traced",
        bytes=max(0, traced.decode_bytes - held),
        words=lambda: Words(
            basis="measured",
            reason="traced: one decode step of the real implementation, its logits once in float32",
            formula=f"{traced.decode_bytes:,} B traced - {held:,} B of cache",
            source=traced.source,
        ),
    )

"""The memory of fine-tuning as an engine's rules give it: lines held between steps, and what the worst moment adds.

A step is: forward, backward, optimiser, gradients set to None (the Trainer of transformers 5.23; the model's outputs
are let go before backward). Nothing is padded, so attention needs no mask but a window's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.attention import EncoderAttention, FullAttention
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.engines.plan import DevicePlan, Placement, Plan, is_cpu
from fmkit.sizing.estimate import MemoryLine, Phase, TrainingFacts
from fmkit.sizing.training.adapters import adapted_groups, adapted_roles, adapter_tensors
from fmkit.sizing.training.block import Setting
from fmkit.sizing.training.optimisers import OPTIMISERS, Trained, state_bytes, step_bytes
from fmkit.sizing.training.passes import Batch, Passes, Types, Walk
from fmkit.sizing.training.recipe import ADAPTER_BYTES, Recipe, recipe_name
from fmkit.sizing.weights import weight_lines
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload

SOURCE = "what autograd of PyTorch 2.13 saves for the operations of transformers 5.23, held against real steps (benchmarks/training.py)"
AUTOCAST_BYTES = 2
KINDS = ("decoder", "encoder", "encoder-decoder")


class Step(NamedTuple):
    """Bytes of one training step beside what is held between steps, by moment."""

    forward_bytes: int
    backward_bytes: int
    gradients_made_bytes: int
    where: str
    gradient_bytes: int
    optimiser_bytes: int
    saved_bytes: int

    @property
    def update_bytes(self) -> int:
        """Gradients and what the optimiser makes while it steps."""
        return self.gradient_bytes + self.optimiser_bytes

    @property
    def peak_bytes(self) -> int:
        """The worst moment."""
        return max(self.forward_bytes, self.backward_bytes, self.update_bytes)


class TrainingRules:
    """The rules of one recipe, called like an engine's; `facts` says what the last estimate was made of."""

    def __init__(self, recipe: Recipe, precision: str) -> None:
        self.recipe = recipe
        self.precision = precision

    def __call__(self, spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Placement:
        """What one device holds."""
        check_trainable(spec)
        spec = in_bfloat16(spec)
        adapted = adapted_groups(spec, self.recipe.targets) if self.recipe.has_adapters else []
        trained = self._trained(spec, layout)
        walk = self._walk(spec, layout, workload, machine)
        step = _step(walk, trained, self.recipe)
        steady = (*self._adapter_lines(trained, len(adapted)), *self._state_lines(trained))
        plan = Plan(
            cache_dtype="none",
            encoder_tokens=_encoder_tokens(spec, workload),
            weights=weight_lines(spec, layout),
            cache=(),
            decode=steady,
            prefill=_peak_lines(step, self.recipe),
            warnings=tuple(self._warnings(spec, walk, step)),
        )
        return Placement(devices=(DevicePlan(plan=plan),))

    def facts(self, spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> TrainingFacts:
        """The figures of the step by name."""
        spec = in_bfloat16(spec)
        trained = self._trained(spec, layout)
        step = _step(self._walk(spec, layout, workload, machine), trained, self.recipe)
        return TrainingFacts(
            method=self.recipe.method,
            recipe=recipe_name(self.recipe.method, self.precision),
            optimizer=self.recipe.optimiser,
            lora_rank=self.recipe.rank if self.recipe.has_adapters else None,
            lora_targets=self.recipe.targets if self.recipe.has_adapters else (),
            checkpointing=self.recipe.checkpointing,
            batch=workload.sequences,
            trainable_params=sum(tensor.elements for tensor in trained),
            gradient_bytes=step.gradient_bytes,
            optimizer_bytes=state_bytes(self.recipe.optimiser, trained),
            adapter_bytes=sum(tensor.bytes for tensor in trained) if self.recipe.has_adapters else 0,
            saved_bytes=step.saved_bytes,
            forward_bytes=step.forward_bytes,
            backward_bytes=step.backward_bytes,
            step_bytes=step.update_bytes,
        )

    def _trained(self, spec: ModelSpec, layout: Layout) -> list[Trained]:
        if self.recipe.has_adapters:
            return adapter_tensors(adapted_groups(spec, self.recipe.targets), self.recipe.rank, ADAPTER_BYTES)
        rest = layout.rest_dtype_for(spec.config_dtype)
        return [
            Trained(group.shape, group.count, DTYPE_BYTES[group.dtype or rest])
            for group in spec.tensors
            if group.part != "buffer"
        ]

    def _walk(self, spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Walk:
        width = DTYPE_BYTES[layout.rest_dtype_for(spec.config_dtype)]
        recipe = self.recipe
        adapted = adapted_groups(spec, recipe.targets) if recipe.has_adapters else []
        setting = Setting(
            weight_bytes=width,
            trained=not recipe.has_adapters,
            adapted=adapted_roles(adapted),
            rank=recipe.rank,
            adapter_bytes=ADAPTER_BYTES,
            unpacks=recipe.method == "qlora",
            on_cpu=is_cpu(machine),
            eager=workload.attention == "eager",
        )
        autocast = AUTOCAST_BYTES if self.precision == "mixed" else None
        types = Types(weight_bytes=width, stream_bytes=width, autocast_bytes=autocast)
        batch = Batch(
            sequences=workload.sequences,
            tokens=workload.context_tokens,
            encoder_tokens=_encoder_tokens(spec, workload),
        )
        return Passes(spec, batch, types, setting, checkpointing=recipe.checkpointing).walk()

    def _adapter_lines(self, trained: list[Trained], layers: int) -> tuple[MemoryLine, ...]:
        if not self.recipe.has_adapters:
            return ()
        size = sum(tensor.bytes for tensor in trained)
        elements = sum(tensor.elements for tensor in trained)
        return (
            MemoryLine(
                part="adapters",
                bytes=size,
                phase="steady",
                basis="formula",
                reason=f"rank {self.recipe.rank} on {layers} kinds of layer ({', '.join(self.recipe.targets)}), float32",
                source="peft 0.21 LoraConfig, which casts adapters of 16-bit models to float32; counted on real models",
                formula=f"{elements:,} elements x {ADAPTER_BYTES} B = {size:,} B",
            ),
        )

    def _state_lines(self, trained: list[Trained]) -> tuple[MemoryLine, ...]:
        optimiser = OPTIMISERS[self.recipe.optimiser]
        size = state_bytes(self.recipe.optimiser, trained)
        if not size:
            return ()
        elements = sum(tensor.elements for tensor in trained)
        return (
            MemoryLine(
                part="optimiser states",
                bytes=size,
                phase="steady",
                basis="formula",
                reason=f"{optimiser.name}: {optimiser.reason}",
                source=f"{optimiser.source}; equal to the byte after a real step",
                formula=f"{elements:,} trained elements x {size / max(1, elements):.4g} B = {size:,} B",
            ),
        )

    def _warnings(self, spec: ModelSpec, walk: Walk, step: Step) -> list[str]:
        notes = []
        if not walk.known:
            notes.append(f"the blocks of {spec.model_type} were not checked in training: Llama's pattern is assumed")
        if not spec.has_head:
            notes.append("the model has no output head: the memory of your own loss comes on top")
        if not self.recipe.has_adapters:
            size = format_bytes(step.gradient_bytes)
            notes.append(
                f"with gradient accumulation all gradients stay for the next batch: up to {size} more in forward"
            )
        elif spec.is_mixture:
            notes.append("fused experts are no linear layers: peft adapts them only where target_parameters names them")
        return notes


def in_bfloat16(spec: ModelSpec) -> ModelSpec:
    """The model as it is trained: 16 bit means bfloat16, and what float16 keeps in float32 (T5's wo) is bfloat16 too."""
    tensors = tuple(
        msgspec.structs.replace(group, dtype=None) if group.module == "linear" and group.dtype == "float32" else group
        for group in spec.tensors
    )
    return msgspec.structs.replace(spec, tensors=tensors, config_dtype="bfloat16")


def check_trainable(spec: ModelSpec) -> None:
    """ArchitectureUnknownError for a model whose training is not understood: other layers than attention, other inputs."""
    mixers = [block.mixer for stack in spec.stacks for block in stack.blocks]
    strange = next((mixer for mixer in mixers if not isinstance(mixer, FullAttention | EncoderAttention)), None)
    if strange is not None:
        kind = type(strange).__struct_config__.tag
        raise ArchitectureUnknownError(
            f"what autograd saves in {kind} layers is not known to this version", where="--train"
        )
    if spec.kind not in KINDS:
        raise ArchitectureUnknownError(
            f"training is known for {', '.join(KINDS)} models of text, not for {spec.kind}", where="--train"
        )


def _encoder_tokens(spec: ModelSpec, workload: Workload) -> int:
    if spec.kind != "encoder-decoder":
        return 0
    return workload.encoder_tokens if workload.encoder_tokens is not None else workload.context_tokens


def _step(walk: Walk, trained: list[Trained], recipe: Recipe) -> Step:
    peak, made, where = walk.backward_peak
    return Step(
        forward_bytes=walk.forward_peak,
        backward_bytes=peak,
        gradients_made_bytes=made,
        where=where,
        gradient_bytes=sum(tensor.bytes for tensor in trained),
        optimiser_bytes=step_bytes(recipe.optimiser, trained),
        saved_bytes=walk.saved_bytes,
    )


def _peak_lines(step: Step, recipe: Recipe) -> tuple[MemoryLine, ...]:
    """What the worst moment holds beyond weights and states."""
    moments = f"forward {step.forward_bytes:,} B, backward {step.backward_bytes:,} B, optimiser {step.update_bytes:,} B"
    kept = "block inputs (checkpointing)" if recipe.checkpointing else "what forward saved"
    parts: tuple[tuple[str, int, str], ...]
    if step.update_bytes == step.peak_bytes:
        parts = (
            ("gradients", step.gradient_bytes, "all gradients wait for the optimiser's step"),
            ("optimiser step", step.optimiser_bytes, f"made inside the step of {OPTIMISERS[recipe.optimiser].name}"),
        )
        phase: Phase = "step"
    elif step.backward_bytes == step.peak_bytes:
        rest = step.backward_bytes - step.gradients_made_bytes
        parts = (
            ("gradients", step.gradients_made_bytes, "those already made when backward peaks"),
            ("training activations", rest, f"backward peaks in the {step.where}: {kept}, and gradients on their way"),
        )
        phase = "backward"
    else:
        parts = (("training activations", step.forward_bytes, f"forward peaks: {kept}, and one block's own tensors"),)
        phase = "forward"
    return tuple(
        MemoryLine(
            part=part, bytes=size, phase=phase, basis="formula", reason=reason, source=SOURCE,
            formula=f"the largest of {moments}",
        )
        for part, size, reason in parts
        if size
    )  # fmt: skip

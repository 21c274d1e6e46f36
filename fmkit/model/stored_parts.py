"""Stored tensors against the architecture: which part each belongs to, which are not loaded, and whether the two agree.

Names of checkpoints and of the classes that load them differ: prefixes come and go, experts are stored one by one and
held fused, a quantised matrix is several tensors. What is left without a counterpart is counted by the elements that
are missing on the other side.
"""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.model import stored_shapes
from fmkit.model.precision import Layout
from fmkit.model.spec import Part, TensorGroup
from fmkit.model.stored_names import BUFFER, NUMBER, PACKED, SCALES, UNPACKED, Known, by_words, matrix_names
from fmkit.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmkit.model.spec import ModelSpec
    from fmkit.model.stored import StoredTensor

AS_STORED = "as-stored"
"""Id of the layout of weights that are loaded as they are stored, whatever their types."""

Held = Counter[tuple[str, tuple[int, ...]]]
"""Elements found of each group, by its name and shape."""


class StoredMatch(msgspec.Struct, frozen=True, kw_only=True):
    """The stored tensors that are loaded, by part, and what was found beside them, in words."""

    groups: tuple[TensorGroup, ...]
    notes: tuple[str, ...]
    not_loaded_bytes: int


def match(spec: ModelSpec, tensors: Sequence[StoredTensor]) -> StoredMatch:
    """The stored `tensors` as groups of the parts of `spec`.

    Left out are copies of tied tensors, buffers (which are made anew), layers beyond those of config.json (multi-token
    prediction), and, where everything the class has was found, what it has no place for.
    """
    known = Known(spec)
    loaded: list[_Like] = []
    strangers: list[_Like] = []
    reshaped: list[tuple[StoredTensor, int, TensorGroup]] = []
    left_out: Counter[str] = Counter()
    held: Held = Counter()
    for alike in sorted(
        _alike(tensors), key=lambda alike: _whole_group(alike, known) is None
    ):  # what has its own name first
        group = _whole_group(alike, known) or _like_group(alike, known, held)
        if group.part == "buffer" if group is not None else known.is_buffer(alike.pattern):
            continue  # counted with the architecture's buffers
        reason = _why_left_out(alike, group, spec, known)
        if reason is not None:
            left_out[reason] += alike.bytes
        elif group is None:
            strangers.append(alike._replace(part=by_words(alike.pattern)))
        else:
            loaded.append(alike._replace(part=group.part))
            if stored_shapes.differs(alike.tensor, group):
                reshaped.append((alike.tensor, alike.tensors, group))
            if not SCALES.search(alike.pattern):
                held[group.name, group.shape] += alike.tensors * group.elements // group.count
    missing = sum(group.elements - held[group.name, group.shape] for group in spec.tensors if group.part != "buffer")
    notes = [*_mismatch(spec, missing, strangers), *stored_shapes.notes(reshaped)]
    if missing <= 0 and strangers:
        left_out[f"have no place in {spec.architecture}"] += sum(alike.bytes for alike in strangers)
    else:
        loaded += strangers
    notes += [f"{format_bytes(count)} of the files are not loaded: they {reason}" for reason, count in left_out.items()]
    buffers = tuple(group for group in spec.tensors if group.part == "buffer")
    groups = (*_grouped(loaded, spec), *buffers)
    return StoredMatch(groups=groups, notes=tuple(notes), not_loaded_bytes=sum(left_out.values()))


def _whole_group(alike: _Like, known: Known) -> TensorGroup | None:
    shape = alike.tensor.shape
    return next(
        (group for name in matrix_names(alike.pattern) if (group := known.named(name, shape)) is not None), None
    )


def _like_group(alike: _Like, known: Known, held: Held) -> TensorGroup | None:
    """The group of a tensor whose name only ends like one of the architecture's, as long as that one has not been found whole."""
    found = (known.ending(name, alike.tensor.shape) for name in matrix_names(alike.pattern))
    return next(
        (group for group in found if group is not None and held[group.name, group.shape] < group.elements), None
    )


class _Like(NamedTuple):
    """`tensors` tensors of one layer that differ by a number in their names only (experts); `tensor` is one of them."""

    pattern: str
    layer: int | None
    tensor: StoredTensor
    tensors: int
    part: Part = "projector"

    @property
    def bytes(self) -> int:
        return self.tensor.bytes * self.tensors


def _alike(tensors: Sequence[StoredTensor]) -> list[_Like]:
    """The tensors, those of one kind and layer counted together: a large model has 90,000 of a few dozen kinds."""
    counts: Counter[tuple[str, int | None, tuple[int, ...], str]] = Counter()
    samples: dict[tuple[str, int | None, tuple[int, ...], str], StoredTensor] = {}
    for tensor in tensors:
        first = NUMBER.search(tensor.name)
        layer = None if first is None else int(first.group()[:9])
        key = (tensor.name if first is None else NUMBER.sub("*", tensor.name), layer, tensor.shape, tensor.dtype)
        counts[key] += 1
        samples.setdefault(key, tensor)
    return [_Like(key[0], key[1], samples[key], count) for key, count in counts.items()]


def with_stored(spec: ModelSpec, tensors: Sequence[StoredTensor]) -> ModelSpec:
    """The model with the tensors of its files beside those of its architecture, and with what the comparison found as notes."""
    found = match(spec, tensors)
    notes = [*spec.notes, *found.notes]
    stored_as = plain_dtype(found.groups)
    if stored_as is not None and not spec.names_dtype:
        notes.append(f"stored as {stored_as}, the type that transformers loads where config.json names none")
    elif stored_as not in (None, spec.config_dtype):
        notes.append(
            f"stored as {stored_as}; config.json says {spec.config_dtype}, which is what transformers loads unless told otherwise"
        )
    return msgspec.structs.replace(spec, stored_tensors=found.groups, notes=tuple(notes))


def as_stored(spec: ModelSpec) -> Layout:
    """The layout of weights that are loaded as they are stored; the cache has the type of the matrices."""
    return Layout(
        id=AS_STORED,
        name="as the files store them",
        weight_bits=None,
        rest_dtype=plain_dtype(spec.stored_tensors) or "auto",
        source="the headers of the files",
    )


def plain_dtype(groups: Iterable[TensorGroup]) -> str | None:
    """The one type of all matrices that were read in headers, if it is one that models compute in."""
    dtypes = {group.dtype for group in groups if group.from_header and len(group.shape) > 1}
    return next(iter(dtypes)) if len(dtypes) == 1 and dtypes <= {"float32", "float16", "bfloat16"} else None


def _why_left_out(alike: _Like, group: TensorGroup | None, spec: ModelSpec, known: Known) -> str | None:
    """The reason why a stored tensor takes no memory of its own; None where it is loaded."""
    pattern = alike.pattern
    if group is None and BUFFER.search(pattern):
        return "are buffers, which are made anew"
    path = (group.name if group is not None else pattern).partition(".*.")[0]
    beyond = alike.layer is not None and path in known.depths and alike.layer >= known.depths[path]
    if beyond or re.search(r"(^|\.)mtp", pattern):
        return "are layers for predicting several tokens at once, beyond those of config.json"
    if group is None and _is_tied_copy(alike.tensor, pattern, spec):
        return "are copies of the embedding, which is tied"
    return None


def _is_tied_copy(tensor: StoredTensor, pattern: str, spec: ModelSpec) -> bool:
    shared = spec.tied_head or spec.kind == "encoder-decoder"
    if not shared or by_words(pattern) not in ("head", "embedding"):
        return False
    return any(group.part == "embedding" and group.shape == tensor.shape for group in spec.tensors)


def _weights_in(alike: _Like) -> int:
    if SCALES.search(alike.pattern) or alike.tensor.dtype == "int64":  # tables, not weights
        return 0
    packed = UNPACKED.get(alike.tensor.dtype, 1) if PACKED.search(alike.pattern) else 1
    return alike.tensors * alike.tensor.elements * packed


def _mismatch(spec: ModelSpec, missing: int, strangers: Sequence[_Like]) -> Iterable[str]:
    """What does not add up between files and config.json, if anything."""
    found = sum(_weights_in(alike) for alike in strangers)
    if missing > found:
        yield (
            f"the files lack {format_count(missing - found)} of the {format_count(spec.params)} parameters that config.json implies"
        )
    elif 0 < missing < found:
        name = strangers[0].tensor.name[:80]
        yield f"the files hold {format_count(found - missing)} parameters that config.json does not explain, among them {name!r}"


def _grouped(loaded: Iterable[_Like], spec: ModelSpec) -> Iterable[TensorGroup]:
    """Tensors of one pattern, shape and type as one group. Experts stored one by one become a first dimension, as they are held."""
    counts: Counter[tuple[str, tuple[int, ...], str, Part]] = Counter()
    for alike in loaded:
        counts[alike.pattern, alike.tensor.shape, alike.tensor.dtype, alike.part] += alike.tensors
    experts, active = _experts(spec)
    for (name, stored_shape, stored_dtype, part), total in counts.items():
        shape, dtype = _whole_bytes(stored_shape, stored_dtype)
        one_by_one = part == "experts" and experts > 0 and total % experts == 0 and "experts.*" in name
        held = (experts, *shape) if one_by_one else shape
        in_first = part == "experts" and experts > 0 and len(held) > 1 and held[0] == experts
        yield TensorGroup(
            name=name,
            part=part,
            module="parameter",
            shape=held,
            count=total // experts if one_by_one else total,
            active=active if in_first else None,
            dtype=dtype,
            quantisable=False,
            from_header=True,
        )


def _whole_bytes(shape: tuple[int, ...], dtype: str) -> tuple[tuple[int, ...], str]:
    """Types narrower than a byte as the bytes they are packed into.

    >>> _whole_bytes((4, 64), "float4_e2m1"), _whole_bytes((4, 64), "bfloat16")
    (((128,), 'uint8'), ((4, 64), 'bfloat16'))
    """
    bits = {"float4_e2m1": 4, "float6_e2m3": 6, "float6_e3m2": 6}.get(dtype)
    return (shape, dtype) if bits is None else ((prod(shape) * bits // 8,), "uint8")


def _experts(spec: ModelSpec) -> tuple[int, int]:
    mixtures = [
        block.mlp for stack in spec.stacks for block in stack.blocks if block.mlp is not None and block.mlp.experts
    ]
    return (mixtures[0].experts, mixtures[0].experts_per_token) if mixtures else (0, 0)

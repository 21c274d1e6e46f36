"""Stored tensors against the architecture: which part each belongs to, which are not loaded, and whether the two agree.

Names of checkpoints and of the classes that load them differ: prefixes come and go, experts are stored one by one and held fused, a
quantised matrix is several tensors. What is left without a counterpart is counted by the elements that are missing on the other side.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.model.precision import Layout
from fmkit.model.spec import Part, TensorGroup
from fmkit.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmkit.model.spec import ModelSpec
    from fmkit.model.stored import StoredTensor

AS_STORED = "as-stored"
"""Id of the layout of weights that are loaded as they are stored, whatever their types."""

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
_PACKED = re.compile(r"\.(qweight|weight_packed)$|_blocks$")
_SCALES = re.compile(
    r"\.(qzeros|scales|biases|g_idx|weight_scale|weight_scale_inv|weight_scale_2|weight_global_scale|input_scale|input_global_scale|"
    r"weight_shape|weight_zero_point|weight_g_idx|k_scale|v_scale|SCB|weight_format|weight\.(absmax|quant_map|nested_absmax|"
    r"nested_quant_map|quant_state\.[\w.]+))$|_scales$"
)
"""Names that a quantised matrix is stored under beside, or instead of, `weight`."""

_UNPACKED = {"int32": 8, "uint32": 8, "uint8": 2, "int8": 2}
"""4-bit weights in one element of a packed tensor."""

_BUFFER = re.compile(r"(^|\.)(inv_freq|position_ids|token_type_ids|attn\.(masked_)?bias)$")
_COUNTED_BUFFER = re.compile(r"\.e_score_correction_bias$")
"""A buffer (in some classes a parameter) that checkpoints keep under other names than the class does."""

Held = Counter[tuple[str, tuple[int, ...]]]
"""Elements found of each group, by its name and shape."""

_WORDS: tuple[tuple[str, Part], ...] = (
    (r"vision|visual|image_encoder", "vision"), (r"audio", "audio"), (r"qformer", "qformer"), (r"experts?\.|experts?_", "experts"),
    (r"router|moe\.gate|mlp\.gate\.", "router"), (r"lm_head|embed_out|output_layer", "head"), (r"norm|\bln_|layer_?norm", "norm"),
    (r"embed|\bwte\b|\bwpe\b|shared\.weight", "embedding"), (r"mixer|ssm|mamba|conv1d", "state"),
    (r"attn|attention|query|key|value|[qkvo]_proj", "attention"), (r"mlp|ffn|feed_forward|fc\d|dense|intermediate", "mlp"),
)  # fmt: skip


class StoredMatch(msgspec.Struct, frozen=True, kw_only=True):
    """The stored tensors that are loaded, by part, and what was found beside them, in words."""

    groups: tuple[TensorGroup, ...]
    notes: tuple[str, ...]
    not_loaded_bytes: int


class _Known:
    """The tensors of the architecture, to look stored names up in; `depths` are the layers of each stack of the text model, by its path."""

    def __init__(self, spec: ModelSpec) -> None:
        self._by_name: dict[str, list[TensorGroup]] = defaultdict(list)
        self._by_end: dict[tuple[str, tuple[int, ...]], TensorGroup] = {}
        self.depths: dict[str, int] = defaultdict(int)
        prefixes = {""}
        for group in spec.tensors:
            self._by_name[group.name].append(group)
            self._by_end.setdefault((_end(group.name), group.shape), group)
            words = group.name.split(".")
            prefixes |= {".".join(words[:count]) + "." for count in (1, 2) if count < len(words)}
        self._note_depths()
        self._prefixes = sorted(prefixes, key=len)

    def _note_depths(self) -> None:
        """Layers are counted where there is attention or a state: other modules are numbered too."""
        paths = {
            group.name.rpartition(".*.")[0]
            for groups in self._by_name.values()
            for group in groups
            if group.part in ("attention", "state") and ".*." in group.name
        }
        for name, groups in self._by_name.items():
            path = name.rpartition(".*.")[0]
            if path in paths:
                self.depths[path] = max(self.depths[path], sum(group.count for group in groups))

    def named(self, pattern: str, shape: tuple[int, ...]) -> TensorGroup | None:
        """The group of that name, a prefix more or fewer; of several shapes the same one."""
        words = pattern.split(".")
        names = [prefix + pattern for prefix in self._prefixes]
        names += [".".join(words[count:]) for count in (1, 2) if count < len(words)]
        groups = next((self._by_name[name] for name in names if name in self._by_name), None)
        if groups is None:
            return None
        return next((group for group in groups if group.shape == shape), groups[0])

    def is_buffer(self, pattern: str) -> bool:
        """Whether the tensor is a buffer of the class that checkpoints keep under another name."""
        found = _COUNTED_BUFFER.search(pattern)
        return found is not None and any(
            group.part == "buffer" and group.name.endswith(found[0])
            for groups in self._by_name.values()
            for group in groups
        )

    def ending(self, pattern: str, shape: tuple[int, ...]) -> TensorGroup | None:
        """The group whose name ends alike, and whose shape is the same."""
        return self._by_end.get((_end(pattern), shape))


def _end(name: str) -> str:
    """What identifies a tensor inside its layer; outside of layers its last two words.

    >>> _end("model.layers.*.self_attn.q_proj.weight"), _end("model.language_model.embed_tokens.weight")
    ('self_attn.q_proj.weight', 'embed_tokens.weight')
    """
    _, star, inside = name.rpartition(".*.")
    return inside if star else ".".join(name.split(".")[-2:])


def match(spec: ModelSpec, tensors: Sequence[StoredTensor]) -> StoredMatch:
    """The stored `tensors` as groups of the parts of `spec`.

    Left out are copies of tied tensors, buffers (which are made anew), layers beyond those of config.json (multi-token prediction),
    and, where everything the class has was found, what it has no place for.
    """
    known = _Known(spec)
    loaded: list[_Like] = []
    strangers: list[_Like] = []
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
            strangers.append(alike._replace(part=_by_words(alike.pattern)))
        else:
            loaded.append(alike._replace(part=group.part))
            if not _SCALES.search(alike.pattern):
                held[group.name, group.shape] += alike.tensors * group.elements // group.count
    missing = sum(group.elements - held[group.name, group.shape] for group in spec.tensors if group.part != "buffer")
    notes = list(_mismatch(spec, missing, strangers))
    if missing <= 0 and strangers:
        left_out[f"have no place in {spec.architecture}"] += sum(alike.bytes for alike in strangers)
    else:
        loaded += strangers
    notes += [f"{format_bytes(count)} of the files are not loaded: they {reason}" for reason, count in left_out.items()]
    buffers = tuple(group for group in spec.tensors if group.part == "buffer")
    groups = (*_grouped(loaded, spec), *buffers)
    return StoredMatch(groups=groups, notes=tuple(notes), not_loaded_bytes=sum(left_out.values()))


def _names(alike: _Like) -> tuple[str, str]:
    """The name of the matrix that a stored tensor is or belongs to, with `weight` and without."""
    whole = _SCALES.sub(".weight", _PACKED.sub(_weight_name, alike.pattern))
    return whole, whole.removesuffix(".weight")


def _whole_group(alike: _Like, known: _Known) -> TensorGroup | None:
    shape = alike.tensor.shape
    return next((group for name in _names(alike) if (group := known.named(name, shape)) is not None), None)


def _like_group(alike: _Like, known: _Known, held: Held) -> TensorGroup | None:
    """The group of a tensor whose name only ends like one of the architecture's, as long as that one has not been found whole."""
    found = (known.ending(name, alike.tensor.shape) for name in _names(alike))
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
        first = _NUMBER.search(tensor.name)
        layer = None if first is None else int(first.group()[:9])
        key = (tensor.name if first is None else _NUMBER.sub("*", tensor.name), layer, tensor.shape, tensor.dtype)
        counts[key] += 1
        samples.setdefault(key, tensor)
    return [_Like(key[0], key[1], samples[key], count) for key, count in counts.items()]


def with_stored(spec: ModelSpec, tensors: Sequence[StoredTensor]) -> ModelSpec:
    """The model with the tensors of its files beside those of its architecture, and with what the comparison found as notes."""
    found = match(spec, tensors)
    notes = [*spec.notes, *found.notes]
    stored_as = plain_dtype(found.groups)
    if stored_as not in (None, spec.config_dtype):
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


def _weight_name(found: re.Match[str]) -> str:
    return ".weight" if found.group().startswith(".") else ""


def _why_left_out(alike: _Like, group: TensorGroup | None, spec: ModelSpec, known: _Known) -> str | None:
    """The reason why a stored tensor takes no memory of its own; None where it is loaded."""
    pattern = alike.pattern
    if group is None and _BUFFER.search(pattern):
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
    if not shared or _by_words(pattern) not in ("head", "embedding"):
        return False
    return any(group.part == "embedding" and group.shape == tensor.shape for group in spec.tensors)


def _by_words(pattern: str) -> Part:
    """The part of the model by the words of a name that the architecture does not know.

    >>> _by_words("model.layers.*.block_sparse_moe.experts.*.w1.weight"), _by_words("cls.predictions.transform.LayerNorm.weight")
    ('experts', 'norm')
    """
    return next((part for words, part in _WORDS if re.search(words, pattern, re.IGNORECASE)), "projector")


def _weights_in(alike: _Like) -> int:
    if _SCALES.search(alike.pattern) or alike.tensor.dtype == "int64":  # tables, not weights
        return 0
    packed = _UNPACKED.get(alike.tensor.dtype, 1) if _PACKED.search(alike.pattern) else 1
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

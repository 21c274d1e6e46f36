"""Names of stored tensors: what they have in common with those of the classes that load them.

Names of checkpoints and classes differ: prefixes come and go, a quantised matrix is several tensors, layers and experts
are numbered.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from fmkit.model.spec import Part, TensorGroup

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
PACKED = re.compile(r"\.(qweight|weight_packed)$|_blocks$")
SCALES = re.compile(
    r"\.(qzeros|scales|biases|g_idx|weight_scale|weight_scale_inv|weight_scale_2|weight_global_scale|input_scale|input_global_scale|"
    r"weight_shape|weight_zero_point|weight_g_idx|k_scale|v_scale|SCB|weight_format|weight\.(absmax|quant_map|nested_absmax|"
    r"nested_quant_map|quant_state\.[\w.]+))$|_scales$"
)
"""Names that a quantised matrix is stored under beside, or instead of, `weight`."""

UNPACKED = {"int32": 8, "uint32": 8, "uint8": 2, "int8": 2}
"""4-bit weights in one element of a packed tensor."""

BUFFER = re.compile(r"(^|\.)(inv_freq|position_ids|token_type_ids|attn\.(masked_)?bias)$")
_COUNTED_BUFFER = re.compile(r"\.e_score_correction_bias$")
"""A buffer (in some classes a parameter) that checkpoints keep under other names than the class does."""

_WORDS: tuple[tuple[str, Part], ...] = (
    (r"vision|visual|image_encoder", "vision"), (r"audio", "audio"), (r"qformer", "qformer"), (r"experts?\.|experts?_", "experts"),
    (r"router|moe\.gate|mlp\.gate\.", "router"), (r"lm_head|embed_out|output_layer", "head"), (r"norm|\bln_|layer_?norm", "norm"),
    (r"embed|\bwte\b|\bwpe\b|shared\.weight", "embedding"), (r"mixer|ssm|mamba|conv1d", "state"),
    (r"attn|attention|query|key|value|[qkvo]_proj", "attention"), (r"mlp|ffn|feed_forward|fc\d|dense|intermediate", "mlp"),
)  # fmt: skip


class Known:
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


def by_words(pattern: str) -> Part:
    """The part of the model by the words of a name that the architecture does not know.

    >>> by_words("model.layers.*.block_sparse_moe.experts.*.w1.weight"), by_words("cls.predictions.transform.LayerNorm.weight")
    ('experts', 'norm')
    """
    return next((part for words, part in _WORDS if re.search(words, pattern, re.IGNORECASE)), "projector")


def _weight_name(found: re.Match[str]) -> str:
    return ".weight" if found.group().startswith(".") else ""


def matrix_names(pattern: str) -> tuple[str, str]:
    """The name of the matrix that a stored tensor is or belongs to, with `weight` and without.

    >>> matrix_names("model.layers.*.mlp.up_proj.qweight")[0], matrix_names("model.layers.*.mlp.experts.down_proj_blocks")[1]
    ('model.layers.*.mlp.up_proj.weight', 'model.layers.*.mlp.experts.down_proj')
    """
    whole = SCALES.sub(".weight", PACKED.sub(_weight_name, pattern))
    return whole, whole.removesuffix(".weight")

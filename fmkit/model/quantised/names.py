"""The names of a quantization_config against the tensors of a model.

A config names modules of the checkpoint (`model.layers.3.mlp.experts.0.gate_proj`), by prefix, wildcard or regular
expression, often one by one for hundreds of layers; a ModelSpec has groups over layers, by the names of the class that
loads them (`model.layers.*.mlp.experts.gate_up_proj`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fmkit.errors import UnsafeInputError

if TYPE_CHECKING:
    from fmkit.model.spec import TensorGroup

EVERY = 2**31
"""As a number of layers: in all of them."""

MAX_PATTERNS = 100_000
MAX_PATTERN_CHARS = 300
MAX_REPEATS = 6

_LAYER = re.compile(r"(?<=\.)(\d+)(?=\.|\*|$)")
_EXPERT = re.compile(r"\bexperts\.\d+")
_PREFIXES = (
    "model.language_model.model.",
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "model.",
    "backbone.",
    "",
)
_INNER = (("mlp", "ffn"), ("mlp", "feed_forward"), ("mlp", "block_sparse_moe"), ("self_attn", "attn"))
_EXPERT_PARTS = {
    "gate_up_proj": ("gate_proj", "up_proj", "w1", "w3"), "down_proj": ("down_proj", "w2"), "up_proj": ("up_proj", "w1"),
}  # fmt: skip

Matcher = Callable[[str, str], bool]
"""Whether a pattern means a module's name."""


def starts_or_ends(pattern: str, name: str) -> bool:
    """As transformers skips modules: a name that the pattern begins, up to a dot, or ends.

    >>> starts_or_ends("lm_head", "lm_head"), starts_or_ends("model.visual", "model.visual.blocks.0.qkv"), starts_or_ends("gate", "mlp.gate_proj")
    (True, True, False)
    """
    return name == pattern or name.startswith(pattern + ".") or name.endswith(pattern)


def wildcard(pattern: str, name: str) -> bool:
    """As NVIDIA ModelOpt excludes modules: shell wildcards, or a name that the pattern begins, up to a dot."""
    return fnmatchcase(name, pattern) or name.startswith(pattern + ".")


def exact_or_regex(pattern: str, name: str) -> bool:
    """As compressed-tensors ignores modules: `re:` and an expression for the beginning of the name, else the name itself."""
    return _compiled(pattern[3:]).match(name) is not None if pattern.startswith("re:") else name == pattern


def layers_meant(
    patterns: Sequence[str], groups: Iterable[TensorGroup], means: Matcher, layers: int = 0
) -> dict[str, int]:
    """The groups that `patterns` mean, with the number of layers they are meant in, `EVERY` for all.

    Numbers from `layers` on, or from the most that a group has, are of layers that are stored and not loaded.

    >>> from fmkit.model.spec import TensorGroup
    >>> group = TensorGroup(name="model.layers.*.mlp.down_proj.weight", part="mlp", module="linear", shape=(8, 8), count=4)
    >>> layers_meant(["model.layers.0.mlp.down_proj", "model.layers.9.mlp"], [group], starts_or_ends)  # there is no layer 9
    {'model.layers.*.mlp.down_proj.weight': 1}
    >>> layers_meant(["re:.*mlp.*"], [group], exact_or_regex)["model.layers.*.mlp.down_proj.weight"] == EVERY
    True
    """
    if len(patterns) > MAX_PATTERNS or any(len(pattern) > MAX_PATTERN_CHARS for pattern in patterns):
        raise UnsafeInputError("the quantization_config names more modules, or longer ones, than any model has")
    templates = _templates(patterns)
    matrices = [group for group in groups if len(group.shape) > 1]
    depth = max([layers, *(group.count for group in matrices)])
    meant = {group.name: _layers(group.name, templates, means, depth) for group in matrices}
    return {name: count for name, count in meant.items() if count}


def _templates(patterns: Iterable[str]) -> dict[str, set[int] | None]:
    """Patterns that differ in their layer only, as one for layer 0, with the layers; None where a pattern names no layer."""
    templates: dict[str, set[int] | None] = {}
    for pattern in patterns:
        text = pattern if pattern.startswith("re:") else _EXPERT.sub("experts.0", pattern)
        number = None if text.startswith("re:") else _LAYER.search(text)
        if number is None:
            templates[text] = None
            continue
        template = f"{text[: number.start()]}0{text[number.end() :]}"
        layers = templates.setdefault(template, set())
        if layers is not None:
            layers.add(int(number.group()[:9]))
    return templates


def _layers(group_name: str, templates: dict[str, set[int] | None], means: Matcher, depth: int) -> int:
    layers: set[int] = set()
    for template, named in templates.items():
        if template.startswith("re:") and "*" in group_name:
            hit = _layers_matched(template, group_name, means, depth)
        elif not _means(template, group_name, means, 0):
            continue
        elif named is None or "*" not in group_name:
            return EVERY
        else:
            hit = {layer for layer in named if layer < depth}
        layers |= hit
    return EVERY if "*" in group_name and len(layers) == depth else len(layers)


def _layers_matched(pattern: str, group_name: str, means: Matcher, depth: int) -> set[int]:
    """The layers that a regular expression means.

    One without digits or character classes can't tell digits apart: the first layer with as many digits answers for the others.
    """
    if any(char.isdigit() or char == "[" for char in pattern):
        return {layer for layer in range(depth) if _means(pattern, group_name, means, layer)}
    answers: dict[int, bool] = {}
    for layer in range(depth):
        digits = len(str(layer))
        if digits not in answers:
            answers[digits] = _means(pattern, group_name, means, layer)
    return {layer for layer in range(depth) if answers[len(str(layer))]}


def _means(pattern: str, group_name: str, means: Matcher, layer: int) -> bool:
    return any(means(pattern, name.replace("*", str(layer))) for name in module_names(group_name))


def module_names(group_name: str) -> tuple[str, ...]:
    """What checkpoints may call the modules of a group, layers as `*`.

    >>> module_names("model.layers.*.mlp.experts.down_proj")[:3]
    ('model.language_model.model.layers.*.mlp.experts.down_proj', 'model.language_model.layers.*.mlp.experts.down_proj', 'language_model.model.layers.*.mlp.experts.down_proj')
    """
    if group_name not in _NAMES:
        _NAMES[group_name] = tuple(dict.fromkeys(_module_names(group_name)))
    return _NAMES[group_name]


_NAMES: dict[str, tuple[str, ...]] = {}


def _module_names(group_name: str) -> Iterable[str]:
    name = group_name.removesuffix(".weight")
    prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
    inner = name.removeprefix(prefix)
    outers = _PREFIXES if inner.startswith(("layers.", "lm_head", "head")) else (prefix, "", "model.")
    for body in _inner_names(inner):
        for outer in outers:
            yield outer + body


def _inner_names(inner: str) -> Iterable[str]:
    module, _, last = inner.rpartition(".")
    bodies = [inner]
    if module.endswith("experts") and last in _EXPERT_PARTS:
        bodies += [f"{module}.0.{part}" for part in _EXPERT_PARTS[last]] + [module]
    if "shared_expert" in inner:
        bodies.append(inner.replace("shared_experts.", "shared_expert."))
    yield from bodies
    for ours, theirs in _INNER:
        yield from (body.replace(f".{ours}.", f".{theirs}.") for body in bodies if f".{ours}." in body)


_EXPRESSIONS: dict[str, re.Pattern[str]] = {}


def _compiled(expression: str) -> re.Pattern[str]:
    """A regular expression from a file: a short one without repeated groups, so that it can't run for ever."""
    if expression not in _EXPRESSIONS:
        repeats = len(re.findall(r"(?<!\\)[*+{]", expression))
        if repeats > MAX_REPEATS or re.search(r"\)[*+{]|\\\d", expression):
            raise UnsafeInputError(f"the quantization_config has an expression too costly to try: {expression[:60]!r}")
        try:
            _EXPRESSIONS[expression] = re.compile(expression)
        except re.error as error:
            raise UnsafeInputError(
                f"the quantization_config has a faulty expression, {expression[:60]!r}: {error}"
            ) from error
    return _EXPRESSIONS[expression]

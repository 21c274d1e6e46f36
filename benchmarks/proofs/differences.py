"""Why a published number of parameters is not the class's: arithmetic on the config's own fields, which has to come out equal.

What many models share is a rule below. What one model has is a line of tests/fixtures/configs/DIFFERENCES.csv: its `terms`
are whole numbers, fields of the config (`text_config.hidden_size`) and the quantities of `Facts`, with + - * and //. An
explanation whose terms come out otherwise is none.
"""

from __future__ import annotations

import ast
import copy
import csv
import json
from functools import cache, cached_property
from operator import add, floordiv, mul, sub
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmkit.model.architectures import read
from fmkit.model.matrices import matrices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fmkit.model.spec import ModelSpec

CONFIGS = Path(__file__).parents[2] / "tests" / "fixtures" / "configs"
DOUBTFUL = "published figure doubtful"
NOT_EXPLAINED = "NOT EXPLAINED"
NOMINAL_DIGITS = 3
NOMINAL_SHARE = 0.06
"""A figure of at most so many digits, so near to the count, is a name and no count."""
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.FloorDiv: floordiv,
}  # fmt: skip


def explanation(hub_id: str, published: int, spec: ModelSpec, config: dict[str, Any]) -> str:
    """Why the published total is another than the spec's, with the arithmetic."""
    apart, facts = published - spec.params, Facts(spec, config, hub_id)
    noted = noted_differences().get(hub_id)
    if noted is not None:
        if not noted["terms"]:
            return noted["why"]
        value = facts.value(noted["terms"])
        if value != apart:
            return f"{NOT_EXPLAINED}: {noted['terms']} is {value:+,}, not {apart:+,}"
        return f"{noted['why']}: {noted['terms']} = {apart:+,}"
    found = next((why for why, amount in _rules(facts) if amount == apart), None)
    if found is not None:
        return f"{found}: {apart:+,}"
    digits = len(str(published).rstrip("0"))
    if digits <= NOMINAL_DIGITS and abs(apart) < NOMINAL_SHARE * spec.params:
        return f"a nominal figure of {digits} digits, {apart / spec.params:+.2%}"
    return f"{NOT_EXPLAINED}: {apart:+,} ({apart / spec.params:+.3%})"


@cache
def noted_differences() -> dict[str, dict[str, str]]:
    """The lines of DIFFERENCES.csv, by model."""
    lines = (CONFIGS / "DIFFERENCES.csv").read_text("utf-8").splitlines()
    return {row["hub_id"]: row for row in csv.DictReader(lines)}


def _rules(facts: Facts) -> Iterator[tuple[str, int]]:
    """What is stored beside many models, or left out of them, and how many elements that is."""
    get = facts.config.get
    layers, heads, hidden = (get(name) or 0 for name in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    positions = get("max_position_embeddings") or 0
    yield "position ids, a buffer here", positions
    yield "position ids and two rows for padding, a buffer here", positions + 2
    if heads and layers and hidden:
        dim = get("head_dim") or hidden // heads
        yield "rotary frequencies of each layer, a buffer here", layers * (dim // 2)
        rotated = int(dim * ((get("rope_parameters") or {}).get("partial_rotary_factor") or 1))
        yield "causal masks and rotary frequencies of each layer, buffers here", layers * (positions**2 + rotated // 2)
    head = facts.embedding if facts.spec.tied_head else -facts.embedding
    yield (
        "the output head, " + ("stored beside the embedding" if head > 0 else "not stored with an embedding model"),
        head,
    )
    biases = facts.buffer("e_score_correction_bias")
    yield "biases of the routers, buffers here", biases
    if facts.spec.stored is not None:
        yield "scales of the quantised matrices", facts.scales()
        yield "scales of the quantised matrices, and biases of the routers", facts.scales() + biases
        yield "two 4-bit weights counted as one", -facts.packed()
        yield "two 4-bit weights counted as one, their scales beside them", facts.scales() - facts.packed()


class Facts:
    """What an explanation may name of a model, beside the fields of its config.

    A repository's hf_quant_config.json stands beside the fixtures where the layout of its weights is in no config.json.
    """

    def __init__(self, spec: ModelSpec, config: dict[str, Any], hub_id: str) -> None:
        quantisation = CONFIGS / "hf_quant_config" / f"{hub_id.replace('/', '--')}.json"
        if quantisation.exists():
            spec = read({**config, "hf_quant_config": json.loads(quantisation.read_text("utf-8"))}, where=hub_id)
        self.spec, self.config = spec, config

    def value(self, terms: str) -> int:
        """What the terms come to."""
        return self._value(ast.parse(terms, mode="eval").body)

    @cached_property
    def embedding(self) -> int:
        """Elements of the largest embedding."""
        return max((group.elements for group in self.spec.tensors if group.part == "embedding"), default=0)

    @property
    def params(self) -> int:
        """The class's parameters."""
        return self.spec.params

    def buffer(self, name: str) -> int:
        """Elements of all buffers of that name."""
        return sum(group.elements for group in self.spec.tensors if group.name.endswith(f".{name}"))

    def scales(self) -> int:
        """Numbers kept as scales in the repository's layout."""
        return _scales(self.spec)

    def packed(self) -> int:
        """Elements that disappear when two quantised weights count as one."""
        layout = self.spec.stored
        return sum(layout.touched_elements(group) for group in self.spec.tensors) // 2 if layout is not None else 0

    def layer(self, more: int = 1) -> int:
        """Parameters of the `more`-th layer after the last."""
        return self._longer(more).params - self._longer(more - 1).params

    def layer_scales(self) -> int:
        """Scales of one more layer."""
        return _scales(self._longer(1)) - self.scales()

    def _longer(self, more: int) -> ModelSpec:
        config = copy.deepcopy(self.config)
        text = config["text_config"] if "num_hidden_layers" in (config.get("text_config") or {}) else config
        layers = text["num_hidden_layers"]
        text["num_hidden_layers"] = layers + more
        for name, value in text.items():
            if isinstance(value, list) and len(value) == layers:
                text[name] = [*value, *[value[-1]] * more]
        return read(config, where="a longer model")

    def _value(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(found)):
                pass
            case ast.BinOp(left=left, op=operator, right=right):
                found = _OPERATORS[type(operator)](self._value(left), self._value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                found = -self._value(operand)
            case ast.Call(func=ast.Name(id="buffer" | "layer" as name), args=[ast.Constant(value=argument)]):
                found = getattr(self, name)(argument)
            case ast.Call(func=ast.Name(id="scales" | "packed" | "layer" | "layer_scales" as name), args=[]):
                found = getattr(self, name)()
            case ast.Name(id="params" | "embedding" as name):
                found = getattr(self, name)
            case ast.Name() | ast.Attribute():
                found = self._field(ast.unparse(node))
            case _:
                raise ValueError(f"{ast.unparse(node)} is no term of an explanation")
        return int(found)

    def _field(self, path: str) -> int:
        value: Any = self.config
        for name in path.split("."):
            value = value[name]
        return int(value)


def _scales(spec: ModelSpec) -> int:
    total = 0
    for group in spec.tensors:
        for layout, count in spec.stored.portions(group) if spec.stored is not None else ():
            if layout is not None:
                number, outputs, inputs = matrices(group)
                per_matrix = sum(level.matrix_bytes(outputs, inputs) // level.bytes for level in layout.scales)
                total += count * number * per_matrix
    return total

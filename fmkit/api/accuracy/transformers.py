"""Memory rows of transformers: peaks of PyTorch's allocator, by release and by what the source measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.accuracy.memory import MemoryCase, scaled
from fmkit.api.accuracy.subject import NotScored
from fmkit.api.trial_measurements import SOURCE as TRIAL
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.memory import estimate
from fmkit.sizing.weights import rotary_frequencies

if TYPE_CHECKING:
    from fmkit.api.accuracy.comparison import Quantity
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import MemoryMeasurement
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate

LAST_LOGITS = (4, 45)
"""From this release on `generate` asks for the last token's logits; before, it had those of the whole prompt, and a
float32 copy. Every layer also kept its own table of cosines and sines for every position."""

WITHOUT_PREFILL = re.compile(r"^QwenLM/Qwen3@")
"""Sources whose peak does not contain the prompt's transient: at every length it exceeds weights and cache by the same
0.03 to 0.05 GiB."""

WHOLE_DEVICE = re.compile(r"tracker|nvidia-smi|process", re.IGNORECASE)
"""Methods that see the process with its CUDA context, where PyTorch's allocator sees its own blocks only."""


def options_of(row: MemoryMeasurement) -> dict[str, str]:
    """No setting of transformers is told by a row."""
    del row
    return {}


def predict(case: MemoryCase, quantity: Quantity, catalog: Catalog) -> tuple[float, float, float, str]:
    """Predicted peak with bounds and a note; NotScored for a part, which no source gives.

    The peak is the larger of the prompt's, and of what is held when the last token was generated.
    """
    if quantity != "total":
        return _part(case, quantity, catalog)
    if case.subject.layout is None:
        raise NotScored(f"no layout is known for weights in {case.row.quant!r}")
    ended = case.estimate
    runtime = case.part_bytes("runtime")
    if WITHOUT_PREFILL.match(case.row.source):
        found, note = ended.steady_bytes, "steady state: this source's peak holds no prompt"
    else:
        prompt = _at_prompt(case, catalog)
        older = _version(case.row) < LAST_LOGITS
        tables = _tables_bytes(case.subject.spec, prompt.cache_dtype) if older else 0
        read = max(prompt.peak_bytes, _with_all_logits(case, prompt) if older else 0)
        read += _other_devices_bytes(case, prompt, older=older)
        found, note = max(read, ended.steady_bytes) + tables, "peak"
        found = max(found, ended.weights_bytes + _second_head_bytes(case, "awq") + runtime)
        if older:
            note = "peak, with logits of every token in two types and a rotary table per layer, as before 4.45"
    found += _second_head_bytes(case, "fp8")
    need = found if WHOLE_DEVICE.search(case.row.peak_method) else found - runtime
    share = need / ended.peak_bytes
    return need, ended.low_bytes * share, ended.high_bytes * share, note


def _part(case: MemoryCase, quantity: Quantity, catalog: Catalog) -> tuple[float, float, float, str]:
    """A part that a trial counted by tensor; the cache is the steady one, activations what the peak holds beside it."""
    if not case.row.source.startswith(TRIAL):
        raise NotScored(f"{quantity} of transformers is in no row that says how it was measured")
    found = case.estimate
    parts = {"weights": found.weights_bytes, "cache": found.cache_bytes}
    parts["activations"] = found.peak_bytes - sum(parts.values()) - case.part_bytes("runtime")
    return *scaled(case, quantity, parts[quantity], catalog), "counted by a trial"


def _version(row: MemoryMeasurement) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", row.engine_version)
    return (int(found[1]), int(found[2])) if found else LAST_LOGITS


def _at_prompt(case: MemoryCase, catalog: Catalog) -> MemoryEstimate:
    """The estimate for the moment when the prompt has been read."""
    if not case.row.prompt_tokens or case.subject.layout is None:
        return case.estimate
    reading = msgspec.structs.replace(case.workload, context_tokens=case.row.prompt_tokens)
    engine, subject = catalog.engines["transformers"], case.subject
    return estimate(subject.spec, engine, case.subject.layout, subject.precision, reading, case.machine)


def _with_all_logits(case: MemoryCase, prompt: MemoryEstimate) -> int:
    """The peak where the head runs over the whole prompt and its result is copied to float32.

    Bytes = weights + cache + runtime + prompt tokens * (vocabulary * (element + 4) + width * element).
    """
    spec = case.subject.spec
    element = DTYPE_BYTES[prompt.cache_dtype]
    token = (spec.vocab_size or 0) * (element + 4) + spec.stacks[0].hidden_dim * element
    held = prompt.weights_bytes + prompt.cache_bytes + case.part_bytes("runtime")
    return held + prompt.sequences * prompt.context_tokens * token


def _tables_bytes(spec: ModelSpec, dtype: str) -> int:
    """Cosines and sines of every position in every layer: layers * positions * rotary width * 2 * element.

    Qwen2-7B: 28 * 32768 * 128 * 2 * 2 = 469,762,048, which its rows of 4.38 hold beyond those of 4.46.
    """
    width = sum(2 * group.elements for group in rotary_frequencies(spec))
    layers = spec.cached_stack.layers if spec.cached_stack is not None else 0
    return layers * (spec.max_context_tokens or 0) * width * 2 * DTYPE_BYTES[dtype]


def _second_head_bytes(case: MemoryCase, packed: str) -> int:
    """The head of a model whose head is its embedding, where the packed repository brings one of its own.

    With AWQ it is there while loading, until it is tied (Qwen2.5-1.5B: 1.51 GiB at one token, where 1.07 GiB of weights
    and 0.43 of embedding are loaded); with FP8 it stays (Qwen3-0.6B: 0.29 GiB at every length).
    """
    spec = case.subject.spec
    if packed not in case.row.quant.casefold() or any(group.part == "head" for group in spec.tensors):
        return 0
    element = DTYPE_BYTES[case.estimate.cache_dtype]
    return (spec.vocab_size or 0) * spec.stacks[0].hidden_dim * element


def _other_devices_bytes(case: MemoryCase, prompt: MemoryEstimate, *, older: bool) -> int:
    """What the devices beside the last add where peaks are summed over devices that share the layers.

    Each holds a block's transient of its own; the first also gets the float32 logits, for accelerate hands results back
    where the input came from.
    """
    others = (case.row.count or 1) - 1
    if not others:
        return 0
    block = max(0, prompt.peak_bytes - prompt.steady_bytes)
    logits = 4 * prompt.sequences * prompt.context_tokens * (case.subject.spec.vocab_size or 0) if older else 0
    return max(block, logits) + (others - 1) * block

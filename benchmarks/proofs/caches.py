"""Cache: what fmkit says of each kind of layer beside a cache that the real implementation filled, to the byte."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.proofs.proof import Aim, Proof, Table
from fmkit.model.architectures import read
from fmkit.model.layers import parts_of
from fmkit.sizing.cache import KIND_NAMES, cache_bytes, prompt_kept_bytes
from tests.sizing import tracing
from tests.sizing.test_activations import inputs_for, shortened
from tests.sizing.test_cache import DECODERS, ENCODER_DECODERS, KINDS, text_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import ModelSpec

SEQUENCES = (1, 4)
LENGTHS = (40, 700, 5000)
SCANNED_TOKENS = 64
"""Longest prompt of a state-space model: without its kernel the scan is a loop over tokens, and the state is the same."""
REAL_WEIGHT_BYTES = 1 << 29
REAL_TOKENS = 700
"""Up to these the forward pass computes; above, its tensors have shapes and storages but no memory."""
ABOUT = (
    "Published configs at their true widths with their first layers: a forward pass of the class itself fills its cache. Counted are the "
    "distinct storages right after prefill and after one decode step, in bfloat16 (encoder-decoders also in float32), below and past "
    "each window, for 1 and 4 sequences. Up to 512 MiB of weights and 700 tokens the pass is computed; above, with fake tensors, which "
    "have shapes and storages but no memory."
)


def prove() -> Proof:
    """Fill every cache and compare."""
    cases = (*decoders(), *kinds(), *encoder_decoders())
    held = sum(case["steady"] == case["filled_steady"] for case in cases)
    peaks = sum(case["prefill"] == case["filled_prefill"] for case in cases)
    proven = {kind for case in cases for kind in case["kinds"]}
    # RWKV-5 and 7 have no class in transformers that could fill a state.
    unproven = set(KIND_NAMES) - proven - {"encoder", "parallel", "none", "rwkv-matrix"}
    aims = (
        Aim("cache in steady state, equal to the byte", "all", f"{held} of {len(cases)} filled caches", held == len(cases)),
        Aim("of these by a pass that was computed, not traced", "", str(sum(case["computed"] for case in cases))),
        Aim("cache right after prefill, equal to the byte", "all", f"{peaks} of {len(cases)}", peaks == len(cases)),
        Aim("kinds of layer filled", "all", f"{len(proven)}" + (f"; not {', '.join(sorted(unproven))}" if unproven else ""), not unproven),
    )  # fmt: skip
    return Proof(name="caches", about=ABOUT, aims=aims, tables=tuple(_tables(cases)), cases=cases)


def decoders() -> Iterator[dict[str, Any]]:
    """Two layers of each decoder lineage of the catalog."""
    for name in DECODERS:
        config = shortened(name, layers=2)
        spec = read(config, where=name)
        lengths = {_possible(spec, tokens) for tokens in LENGTHS}
        yield from (_decoder(name, config, spec, tokens, count) for tokens in sorted(lengths) for count in SEQUENCES)


def kinds() -> Iterator[dict[str, Any]]:
    """Each remaining kind of layer, in the model it was published with."""
    for name, layers, lengths in KINDS:
        config = text_only(name, layers)
        spec = read(config, where=name)
        yield from (_decoder(name, config, spec, tokens, count) for tokens in lengths for count in SEQUENCES)


def encoder_decoders() -> Iterator[dict[str, Any]]:
    """The decoder's own cache and that of its cross-attention; a prompt is one token."""
    for name in ENCODER_DECODERS:
        config = shortened(name, layers=2)
        spec = read(config, where=name)
        encoder = spec.stack("encoder") or spec.stack("audio")
        tokens = (encoder.fixed_tokens if encoder is not None else None) or 200
        for dtype in (torch.bfloat16, torch.float32):
            for count in SEQUENCES:
                inputs = inputs_for(config, count, 200, dtype)
                filled = tracing.filled_cache_bytes(config, inputs, dtype=dtype, fake=False)
                ours = [cache_bytes(spec, held, tokens, count, dtype.itemsize) for held in (1, 2)]
                yield _case(name, spec, tokens, count, ours, filled, computed=True)


def _possible(spec: ModelSpec, tokens: int) -> int:
    """The prompt, no longer than learned positions allow with the step that follows, nor than a scan takes to run."""
    if spec.context_is_hard and spec.max_context_tokens:
        tokens = min(tokens, spec.max_context_tokens - 1)
    return min(tokens, SCANNED_TOKENS) if spec.kind == "state-space" else tokens


def _decoder(name: str, config: dict[str, Any], spec: ModelSpec, tokens: int, count: int) -> dict[str, Any]:
    computed = spec.params * 2 <= REAL_WEIGHT_BYTES and tokens * count <= REAL_TOKENS
    inputs = inputs_for(config, count, tokens, torch.bfloat16)
    filled = tracing.filled_cache_bytes(config, inputs, dtype=torch.bfloat16, fake=not computed)
    prefill = cache_bytes(spec, tokens, 0, count, 2) + prompt_kept_bytes(spec, tokens, count, 2)
    return _case(
        name, spec, tokens, count, [prefill, cache_bytes(spec, tokens + 1, 0, count, 2)], filled, computed=computed
    )


def _case(
    name: str, spec: ModelSpec, tokens: int, count: int, ours: list[int], filled: tuple[int, int], *, computed: bool
) -> dict[str, Any]:
    return {
        "model": name, "kinds": _kinds_of(spec), "tokens": tokens, "sequences": count, "computed": computed,
        "prefill": ours[0], "filled_prefill": filled[0], "steady": ours[1], "filled_steady": filled[1],
    }  # fmt: skip


def _kinds_of(spec: ModelSpec) -> list[str]:
    stack = spec.cached_stack
    mixers = [part for block in (stack.blocks if stack else ()) for part in parts_of(block.mixer)]
    mixers += [block.cross for block in (stack.blocks if stack else ()) if block.cross is not None]
    return sorted({str(type(mixer).__struct_config__.tag) for mixer in mixers})


def _tables(cases: tuple[dict[str, Any], ...]) -> Iterator[Table]:
    by_kind: Counter[str] = Counter(kind for case in cases for kind in case["kinds"])
    equal: Counter[str] = Counter()
    models: dict[str, set[str]] = {}
    for case in cases:
        right = case["prefill"] == case["filled_prefill"] and case["steady"] == case["filled_steady"]
        for kind in case["kinds"]:
            equal[kind] += right
            models.setdefault(kind, set()).add(case["model"].partition("--")[2])
    yield Table(
        "Filled caches by kind of layer",
        ("kind", "caches", "equal", "models"),
        tuple((KIND_NAMES.get(kind, kind), str(count), str(equal[kind]), ", ".join(sorted(models[kind])))
              for kind, count in sorted(by_kind.items())),
    )  # fmt: skip
    wrong = [c for c in cases if c["prefill"] != c["filled_prefill"] or c["steady"] != c["filled_steady"]]
    if wrong:
        keys = ("model", "tokens", "sequences", "prefill", "filled_prefill", "steady", "filled_steady")
        yield Table("Not equal", keys, tuple(tuple(str(case[key]) for key in keys) for case in wrong))

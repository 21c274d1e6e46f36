"""What launching the kernels of one layer takes: layers differ in how many small operations they have, whatever their width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.speed.operations import tower_of

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

LAUNCH_PER_LAYER, LAUNCH_PER_NORM = 1.6, 0.2
MIXTURE_LAUNCH, STATE_LAUNCH = 1.2, 1.2
"""Launching a layer of a real model over the narrow layer that is timed: 2.0 to 2.1 for a Llama (two norms), 2.7 for Gemma 3 (six),
3.5 for Qwen3's mixtures, 3.2 for Mamba. transformers 5.23 on an H100 (benchmarks/results/gpu-trials-h100.json) and on a CPU
(models 64 wide); the rest is Python: modules, cache and masks."""

LLAMA_LAUNCH = LAUNCH_PER_LAYER + 2 * LAUNCH_PER_NORM
MOST_NORMS = 6.0


def launch_of(spec: ModelSpec) -> float:
    """What launching one layer of the decoder (of the first tower, without one) takes, in layers that were timed.

    Norms tell how many small operations a layer has: two in a Llama, four with norms of queries and keys, six in Gemma 3.
    """
    stack = spec.cached_stack or spec.stacks[0]
    norms = sum(
        one.count
        for one in spec.tensors
        if one.part == "norm" and one.count > 1 and one.name.endswith("weight") and tower_of(one, spec) == stack.role
    )
    found = LAUNCH_PER_LAYER + LAUNCH_PER_NORM * min(norms / max(1, stack.layers), MOST_NORMS)
    found += MIXTURE_LAUNCH if spec.is_mixture else 0.0
    return found + (STATE_LAUNCH if spec.kind in ("state-space", "hybrid") else 0.0)


def launches_per_layer(spec: ModelSpec) -> float:
    """The same as a multiple of a Llama's layer."""
    return launch_of(spec) / LLAMA_LAUNCH

"""What vLLM's start-up profile takes: one batch in the layers, or sampling for every sequence it may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.model.spec import TOWER_ROLES
from fmkit.sizing.estimate import MemoryLine
from fmkit.units import format_count

if TYPE_CHECKING:
    from fmkit.model.spec import Mlp, ModelSpec, Stack
    from fmkit.sizing.engines.vllm_options import Settings
    from fmkit.sizing.estimate import Basis, Workload

LOGIT_BYTES = 38.4
"""Bytes of the sampler per logit of the profiled batch: the logits in two types, their sorted values and indices,
probabilities and their running sum. Fitted on 8 start-up logs of vLLM 0.6.5 to 0.11.0 (four vocabularies, 256 and 1,024
sequences: 38.3 to 41 bytes), with `max_num_seqs` taken to be the default of version and card."""


PROFILE_SOURCE = (
    "fitted on vLLM 0.6.4-0.11.0 start-up logs (llm-d-planner docs/empirical-vllm-memory-results.md at e50305a; vllm-project/vllm "
    "#10511, #10517, #13882); benchmarks/memory_accuracy.py"
)


class Profile(NamedTuple):
    """One candidate for the worst moment of the profiled batch."""

    name: str
    bytes: int
    basis: Basis
    reason: str
    formula: str


def worst_profile(spec: ModelSpec, settings: Settings, workload: Workload) -> Profile:
    """The worst moment of the batch that vLLM runs at start: in the layers, in an encoder tower, or in the sampler."""
    tokens = settings.batched_tokens
    if spec.cached_stack is None:
        tokens = max(tokens, workload.context_tokens * workload.sequences)
    found = [_stack_profile(stack, settings, tokens) for stack in spec.stacks if stack.blocks]
    if spec.cached_stack is not None and spec.has_head and spec.vocab_size:
        found.append(_sampler_profile(spec, spec.vocab_size, settings, workload))
    return max(found, key=lambda moment: moment.bytes)


def _sampler_profile(spec: ModelSpec, vocabulary: int, settings: Settings, workload: Workload) -> Profile:
    """The sampler: 38.4 bytes per logit of `max_num_seqs` sequences, beside the hidden states of the batch.

    It is not divided by tensor parallelism: logits are gathered.
    """
    sequences = max(min(settings.sampled, settings.batched_tokens), workload.sequences)
    hidden = spec.stacks[0].hidden_dim
    size = round(LOGIT_BYTES * sequences * vocabulary) + settings.batched_tokens * hidden * settings.model_bytes
    return Profile(
        name="sampler",
        bytes=size,
        basis="measured",
        reason=f"start-up profile: sampling for max_num_seqs = {sequences:,} sequences over {format_count(vocabulary)} logits; fewer take less",
        formula=(
            f"{LOGIT_BYTES} B x {sequences:,} x {vocabulary:,} + {settings.batched_tokens:,} x {hidden:,} x {settings.model_bytes} B = {size:,} B"
        ),
    )


def _stack_profile(stack: Stack, settings: Settings, tokens: int) -> Profile:
    """One batch in the layers: bytes = tokens * element * (3 * inner width + 3 * hidden width), for the widest block.

    gate, up and their product; input, residual and output. Two logs of Llama-3.1-8B without chunked prefill (vLLM
    0.6.4) agree: 20,000 tokens 2.07 GiB, 29,000 tokens 2.99. For experts, tokens * experts per token * (max(2 * inner,
    hidden) + inner).
    """
    if stack.role in TOWER_ROLES:
        tokens = max(tokens, stack.fixed_tokens or 0)
    width, words = max(_block_width(stack.hidden_dim, block.mlp) for block in stack.blocks)
    size = tokens * width * settings.model_bytes
    return Profile(
        name=f"{stack.role} layers",
        bytes=size,
        basis="assumed" if stack.role != "decoder" or "experts" in words else "measured",
        reason=f"start-up profile: a batch of max_num_batched_tokens = {tokens:,} tokens in the widest layer",
        formula=f"{tokens:,} tokens x ({words}) x {settings.model_bytes} B = {size:,} B",
    )


def _block_width(hidden: int, mlp: Mlp | None) -> tuple[int, str]:
    """Elements per token at the worst moment of a block, and how they add up."""
    if mlp is None:
        return 4 * hidden, f"4 x {hidden:,}"
    if mlp.experts:
        routed = mlp.experts_per_token * (max(2 * mlp.ffn_dim, hidden) + mlp.ffn_dim)
        words = f"3 x {hidden:,} + {mlp.experts_per_token} experts x {max(2 * mlp.ffn_dim, hidden) + mlp.ffn_dim:,}"
        return 3 * hidden + routed + 3 * mlp.shared_ffn_dim, words
    inner = 3 if mlp.gated else 2
    return inner * mlp.ffn_dim + 3 * hidden, f"{inner} x {mlp.ffn_dim:,} + 3 x {hidden:,}"


def profile_line(profile: Profile) -> MemoryLine:
    """The line of that moment."""
    return MemoryLine(
        part=f"activations: {profile.name}",
        bytes=profile.bytes,
        phase="prefill",
        basis=profile.basis,
        reason=profile.reason,
        source=PROFILE_SOURCE,
        formula=profile.formula,
    )

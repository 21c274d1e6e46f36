"""The share of attention at each context of `fmkit vram`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.activations import Activations
from fmkit.sizing.engines.plan import cache_dtype, encoder_tokens_for
from fmkit.sizing.forward import Pass, images_per_sequence
from fmkit.speed.operations import Reading
from fmkit.speed.share import attention_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload
    from fmkit.speed.estimate import AttentionShare


def attention_shares(
    spec: ModelSpec, engine: str, layout: Layout, workloads: Sequence[Workload]
) -> tuple[AttentionShare, ...]:
    """One share for each workload; score matrices are counted for the attention asked for, in transformers."""
    return tuple(_share(spec, engine, layout, workload) for workload in workloads)


def _share(spec: ModelSpec, engine: str, layout: Layout, workload: Workload) -> AttentionShare:
    encoder_tokens = encoder_tokens_for(spec, workload)
    reading = Reading(
        prompt_tokens=workload.context_tokens,
        encoder_tokens=encoder_tokens,
        images=images_per_sequence(spec, workload),
        sequences=workload.sequences,
    )
    run = Pass(
        workload=workload,
        encoder_tokens=encoder_tokens,
        element_bytes=DTYPE_BYTES[cache_dtype(spec, layout)],
        on_cpu=False,
    )
    scores = Activations(spec, run.kind).score_bytes(run) if engine == "transformers" else None
    return attention_share(spec, layout, reading, workload.context_tokens, engine, scores)

"""Whether a workload is within the model's limits, and what to say where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.units import format_tokens

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


NODE_DEVICES = 8
"""Accelerators that servers hold; what is beyond them is on another node."""


def validity(spec: ModelSpec, workload: Workload, encoder_tokens: int) -> tuple[bool, tuple[str, ...]]:
    """False past a hard limit, and what is to be said of the lengths asked for; `encoder_tokens` are those of the encoder."""
    warnings = []
    valid = True
    limit = spec.max_context_tokens
    if limit is not None and workload.context_tokens > limit:
        asked, most = format_tokens(workload.context_tokens), format_tokens(limit)
        if spec.context_is_hard:
            valid = False
            warnings.append(
                f"{asked} tokens are impossible: the model's limit is {most}; the bytes are arithmetic only"
            )
        else:
            warnings.append(f"{asked} tokens are beyond the {most} the model was made for; expect nonsense")
    encoder_limit = spec.encoder_max_tokens
    if encoder_limit is not None and encoder_tokens > encoder_limit:
        valid = False
        warnings.append(
            f"{format_tokens(encoder_tokens)} encoder tokens: the encoder's limit is {format_tokens(encoder_limit)}"
        )
    if workload.images and spec.image_tokens is None:
        warnings.append("the model takes no images, or how many tokens one takes is unknown: images are not counted")
    elif workload.images and spec.image_tokens and workload.images * spec.image_tokens > workload.context_tokens:
        need = workload.images * spec.image_tokens
        valid = False
        warnings.append(
            f"{workload.images} images take {need:,} tokens, more than the context of {workload.context_tokens:,}: they can't be given"
        )
    if workload.tensor_parallel > NODE_DEVICES:
        warnings.append(
            f"tensor parallel over {workload.tensor_parallel} devices spans nodes of {NODE_DEVICES}: every layer waits for the network between "
            "them, unless all hang on one switch (NVL72)"
        )
    return valid, tuple(warnings)

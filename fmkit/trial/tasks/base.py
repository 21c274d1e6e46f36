"""What a task is: the tensors it feeds a model, and the real answer it gets. One file per task beside this one."""

from __future__ import annotations

from typing import Any, Protocol

from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply
from fmkit.trial.loaded import Loaded


class Task(Protocol):
    """How one kind of model is fed and read."""

    name: str
    """`text generation`, `embedding`, ..."""

    decodes: bool
    """Whether the model keeps a cache and goes on token by token."""

    prompt_is_context: bool
    """Whether the prompt fills the decoder's cache; an encoder-decoder starts from one token instead."""

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """Tensors of the true shapes that leave `tokens` tokens in the decoder's cache (for an encoder: its input)."""

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The answer to an input, or to the packaged example; notes in `seen` what the checks want to know."""


def next_step(out: Any, token: Any) -> dict[str, Any]:  # noqa: ANN401
    """Arguments of the forward pass that decodes `token` after the pass that returned `out`."""
    step: dict[str, Any] = {}
    for name in ("past_key_values", "cache_params"):
        cache = getattr(out, name, None)
        if cache is not None:
            step[name] = cache
    encoded = getattr(out, "encoder_last_hidden_state", None)
    if encoded is None:
        return {**step, "input_ids": token}
    from transformers.modeling_outputs import BaseModelOutput  # noqa: PLC0415

    return {**step, "decoder_input_ids": token, "encoder_outputs": BaseModelOutput(last_hidden_state=encoded)}


def cache_of(out: Any) -> Any:  # noqa: ANN401
    """The cache in a model's output, None for a model without one."""
    for name in ("past_key_values", "cache_params", "state"):  # RWKV calls its own a state
        found = getattr(out, name, None)
        if found is not None:
            return found
    return None


def scores_of(out: Any) -> Any:  # noqa: ANN401
    """The tensor of a model's output that its answer is read from."""
    for name in ("logits", "logits_per_image", "last_hidden_state"):
        value = getattr(out, name, None)
        if value is not None:
            return value
    raise TypeError(f"{type(out).__name__} has no logits and no hidden state")

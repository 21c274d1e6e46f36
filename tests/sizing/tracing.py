"""An independent witness for sizing: run the real transformers model and count every live storage.

`forward_peak` runs a forward pass with fake tensors (true shapes, no memory) or real ones and returns the most bytes that
were alive at once beside weights and inputs. Used by tests and benchmarks only.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.initialization import no_init_weights
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fmkit.trial.tracker import LiveStorages

if TYPE_CHECKING:
    from collections.abc import Mapping


def build(config: Mapping[str, Any], dtype: torch.dtype, attention: str | None) -> Any:
    """The model a config.json names, on the current device mode, with its default or the asked attention."""
    plain = {key: value for key, value in config.items() if key not in ("quantization_config", "auto_map")}
    parsed = CONFIG_MAPPING[plain["model_type"]].from_dict(plain)
    cls = getattr(transformers, plain["architectures"][0])
    model = (
        cls._from_config(parsed, dtype=dtype, attn_implementation=attention)
        if attention
        else cls._from_config(parsed, dtype=dtype)
    )
    return model.eval()


def forward_peak(
    config: Mapping[str, Any],
    inputs: Mapping[str, torch.Tensor],
    *,
    dtype: torch.dtype,
    attention: str | None = None,
    fake: bool = True,
) -> int:
    """Most bytes alive at once in one forward pass beside weights and inputs, logits of the last token only where possible."""
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else contextlib.nullcontext()
    with mode:
        model = build(config, dtype, attention)
        given = {name: tensor.clone() for name, tensor in inputs.items()}
        accepted = inspect.signature(model.forward).parameters
        flags = {name: value for name, value in (("use_cache", True), ("logits_to_keep", 1)) if name in accepted}
        known = [*model.parameters(), *model.buffers(), *given.values()]
        with torch.no_grad(), LiveStorages((), ignored=known) as live:
            out = model(**given, **flags)
            del out
    return int(live.peak_bytes)


def filled_cache_bytes(
    config: Mapping[str, Any], inputs: Mapping[str, torch.Tensor], *, dtype: torch.dtype, fake: bool = True
) -> tuple[int, int]:
    """Bytes of storage that the returned cache holds: right after prefill, and after one decode step."""
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else contextlib.nullcontext()
    with mode, torch.no_grad():
        with no_init_weights() if fake else contextlib.nullcontext():
            model = build(config, dtype, None)
        given = {name: tensor.clone() for name, tensor in inputs.items()}
        out = model(**given, use_cache=True)
        name = next(name for name in ("cache_params", "state", "past_key_values") if hasattr(out, name))
        cache = getattr(out, name)
        prefilled = _storage_bytes(cache)
        token = torch.ones(next(iter(given.values())).shape[0], 1, dtype=torch.long)
        step: dict[str, Any] = {name: cache, "use_cache": True}
        if hasattr(out, "encoder_last_hidden_state"):
            step |= {"encoder_outputs": (out.encoder_last_hidden_state,), "decoder_input_ids": token}
        else:
            step["input_ids"] = token
        after = getattr(model(**step), name)
        return prefilled, _storage_bytes(after)


def _storage_bytes(cache: Any) -> int:
    """Bytes of the distinct storages of all tensors reachable from a cache object."""
    seen: dict[int, int] = {}
    visited: set[int] = set()
    waiting = [cache]
    while waiting:
        item = waiting.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            if item.is_floating_point():
                seen[storage._cdata] = storage.nbytes()
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend(item)
        elif hasattr(item, "__dict__") and type(item).__module__.startswith(
            ("transformers.cache_utils", "transformers.models.")
        ):
            waiting.extend(vars(item).values())
    return sum(seen.values())

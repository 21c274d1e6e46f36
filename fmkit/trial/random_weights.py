"""A model of any architecture at its true size with random weights: nothing is downloaded, memory and speed stay true.

The modules are built without storage (accelerate), then one tensor after the other is given memory in its final type, so that
the peak never exceeds the model plus one block of values. The same config gives the same weights on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from fmkit.trial.quantised import is_quantised, quantise, replace_linears

BLOCK_ELEMENTS = 1_000_003
"""Length of the run of random values that is repeated: a prime, so that it never lines up with the rows of a matrix."""

SPREAD = 0.03
"""Values are uniform in [-SPREAD, SPREAD]; their deviation 0.017 is near the 0.02 that most models start from."""

IGNORED_KEYS = ("quantization_config", "auto_map", "dtype", "torch_dtype")
"""Keys of a config.json that describe its files rather than its architecture."""


def parsed_config(config: Mapping[str, Any]) -> Any:  # noqa: ANN401  a transformers configuration
    """The transformers configuration of a config.json, without remote code."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415  2 s: only in the child

    plain = {key: value for key, value in config.items() if key not in IGNORED_KEYS}
    model_type = plain.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"this transformers does not know the model type {model_type!r}")
    return CONFIG_MAPPING[model_type].from_dict(plain)


def build_random(cls: Any, config: Mapping[str, Any], dtype: str, device: str, quantiser: str | None = None) -> Any:  # noqa: ANN401
    """A model of class `cls` with random weights in `dtype` on `device`, quantised tensor by tensor if asked."""
    from accelerate import init_empty_weights  # noqa: PLC0415
    from transformers.initialization import no_init_weights  # noqa: PLC0415

    wanted = getattr(torch, dtype)
    # buffers are computed, not learned (rotary frequencies, position ids): they are built for real
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = cls._from_config(parsed_config(config), dtype=wanted)
    model.tie_weights()
    if quantiser is not None:
        replace_linears(model, quantiser, wanted)
    materialise(model, wanted, device)
    return model.eval()


def materialise(model: Any, dtype: Any, device: str) -> None:  # noqa: ANN401
    """Give every parameter without storage its memory and values; tied parameters stay tied."""
    wide = _float32_names(model, dtype)
    source = _values(dtype)
    on_device = source.to(device)
    made: dict[int, Any] = {}
    for prefix, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.device.type != "meta":
                continue
            key = id(parameter)
            if key not in made:
                full_name = f"{prefix}.{name}" if prefix else name
                target = torch.float32 if wide is not None and wide.search(full_name) else dtype
                made[key] = _parameter(
                    parameter, full_name, target, device, source if is_quantised(parameter) else on_device
                )
            module._parameters[name] = made[key]  # noqa: SLF001  register_parameter refuses names it finds
        for name, buffer in list(module.named_buffers(recurse=False)):
            full_name = f"{prefix}.{name}" if prefix else name
            widened = buffer.float() if wide is not None and wide.search(full_name) else buffer
            module._buffers[name] = widened.to(device)  # noqa: SLF001


def _parameter(meta: Any, name: str, dtype: Any, device: str, source: Any) -> Any:  # noqa: ANN401
    """One parameter with values; a quantised one is filled in 16 bits first, on the CPU."""
    quantised = is_quantised(meta)
    tensor = torch.empty(meta.shape, dtype=dtype, device="cpu" if quantised else device)
    fill(tensor, name, source)
    return quantise(meta, tensor, device) if quantised else torch.nn.Parameter(tensor, requires_grad=False)


def fill(tensor: Any, name: str, source: Any) -> None:  # noqa: ANN401
    """Values that keep activations finite: vectors are scales (1) or biases (0), matrices repeat the random block."""
    if tensor.dim() <= 1:
        tensor.fill_(0.0 if name.endswith("bias") else 1.0)
        return
    flat = tensor.view(-1)
    for start in range(0, flat.numel(), BLOCK_ELEMENTS):
        part = flat[start : start + BLOCK_ELEMENTS]
        part.copy_(source[: part.numel()])


def _values(dtype: Any) -> Any:  # noqa: ANN401
    generator = torch.Generator().manual_seed(0)
    return torch.empty(BLOCK_ELEMENTS).uniform_(-SPREAD, SPREAD, generator=generator).to(dtype)


def _float32_names(model: Any, dtype: Any) -> re.Pattern[str] | None:  # noqa: ANN401
    """What `from_pretrained` keeps in float32: named by the model class, for float16 alone or for both 16-bit types."""
    names: set[str] = set()
    if dtype == torch.float16:
        names |= set(getattr(model, "_keep_in_fp32_modules", None) or ())
    if dtype in (torch.float16, torch.bfloat16):
        names |= set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
    if not names:
        return None
    return re.compile("|".join(rf"(^|\.){re.escape(name)}(\.|$)" for name in sorted(names)))

"""A model of any architecture at its true size with random weights: nothing is downloaded, memory and speed stay true.

The modules are built without storage (accelerate), then one tensor after the other is given memory in its final type, so that
the peak never exceeds the model plus one block of values. The same config gives the same weights on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from fmkit.trial.offload import Shelves
from fmkit.trial.quantised import Packer
from fmkit.trial.ranks.weights import divide, filled_share, is_share
from fmkit.trial.request import TrialRequest

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


def build_random(
    cls: Any,  # noqa: ANN401
    config: Mapping[str, Any],
    dtype: str,
    device: str,
    quantiser: str | None = None,
    *,
    ranks: int = 1,
    off_loaded: TrialRequest | None = None,
) -> Any:  # noqa: ANN401
    """A model of class `cls` with random weights in `dtype` on `device`, quantised tensor by tensor if asked.

    Of several `ranks` each gets its share of the weights that one would have. With a request that is to be `off_loaded` what has no room
    on the device lies elsewhere.
    """
    from accelerate import init_empty_weights  # noqa: PLC0415
    from transformers.initialization import no_init_weights  # noqa: PLC0415

    wanted = getattr(torch, dtype)
    # buffers are computed, not learned (rotary frequencies, position ids): they are built for real
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = cls._from_config(parsed_config(config), dtype=wanted)
    if ranks > 1:
        model = divide(model, ranks)
    model.tie_weights()
    packer = None if quantiser is None else Packer(model, quantiser, wanted)
    shelves = None if off_loaded is None else Shelves(model, off_loaded)
    materialise(model, wanted, device, packer, shelves)
    if shelves is not None:
        shelves.dispatch(model)
    return model.eval()


def materialise(
    model: Any,  # noqa: ANN401
    dtype: Any,  # noqa: ANN401
    device: str,
    packer: Packer | None = None,
    shelves: Shelves | None = None,
) -> None:
    """Give every parameter without storage its memory and values; tied parameters stay tied, and `packer` packs what it takes.

    With `shelves` a parameter goes to the place that they say, and has no storage here if that is the disk.
    """
    wide = _float32_names(model, dtype)
    source = _values(dtype)
    on_device = source.to(device)
    made: dict[int, Any] = {}
    for prefix, module in list(model.named_modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.device.type != "meta":
                continue
            full_name = f"{prefix}.{name}" if prefix else name
            target = torch.float32 if wide is not None and wide.search(full_name) else dtype
            if packer is not None and packer.takes(full_name):
                packer.put(full_name, _values_for(parameter, full_name, target, "cpu", source).to(device))
                continue
            key = id(parameter)
            if shelves is not None and shelves.is_on_disk(full_name):
                shelves.write(full_name, key, _values_for(parameter, full_name, target, "cpu", source))
                continue
            if key not in made:
                place = device if shelves is None else shelves.device(full_name, device)
                values = _values_for(parameter, full_name, target, place, source if place == "cpu" else on_device)
                # as trained ones: torch 2.13 multiplies a row cut out of a prompt 25 times as slowly by weights that ask for no gradient
                made[key] = torch.nn.Parameter(values, requires_grad=values.is_floating_point())
            module._parameters[name] = made[key]  # noqa: SLF001  register_parameter refuses names it finds
        for name, buffer in list(module.named_buffers(recurse=False)):
            full_name = f"{prefix}.{name}" if prefix else name
            widened = buffer.float() if wide is not None and wide.search(full_name) else buffer
            module._buffers[name] = widened.to(device)  # noqa: SLF001


def _values_for(meta: Any, name: str, dtype: Any, device: str, source: Any) -> Any:  # noqa: ANN401
    """A tensor of the shape of `meta` with values; of a divided one this rank's share."""
    if is_share(meta):
        return filled_share(meta, dtype, device, source, constant=_constant(name) if meta.dim() <= 1 else None)
    tensor = torch.empty(meta.shape, dtype=dtype, device=device)
    fill(tensor, name, source)
    return tensor


def fill(tensor: Any, name: str, source: Any) -> None:  # noqa: ANN401
    """Values that keep activations finite: vectors are scales (1) or biases (0), matrices repeat the random block."""
    if tensor.dim() <= 1:
        tensor.fill_(_constant(name))
        return
    flat = tensor.view(-1)
    for start in range(0, flat.numel(), BLOCK_ELEMENTS):
        part = flat[start : start + BLOCK_ELEMENTS]
        part.copy_(source[: part.numel()])


def _constant(name: str) -> float:
    """The value of all elements of a vector."""
    return 0.0 if name.endswith("bias") else 1.0


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

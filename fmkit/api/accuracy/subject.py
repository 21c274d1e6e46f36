"""What a measurement is of, in fmkit's own terms: model, engine, layout of the weights and machine.

Memory and speed rows are read alike, here and in the fitting of the speed model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.catalog.configs import config_files, read_config_spec
from fmkit.catalog.measurements import same_shapes
from fmkit.errors import FmkitError
from fmkit.machine import Machine, catalog_machine
from fmkit.model.ggml import FILE_TYPES
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import Measurement
    from fmkit.machine import Device

ENGINES = {
    "llama.cpp": "llama.cpp",
    "llamacpp": "llama.cpp",
    "ollama": "llama.cpp",
    "transformers": "transformers",
    "transformers (pytorch)": "transformers",
    "transformers (sdpa)": "transformers",
    "vllm": "vllm",
}
"""The engine of fmkit by the name a measurement gives, in lower case; ollama runs llama.cpp. Others have no rules here."""

_VLLM_BUILD = re.compile(r"vllm \d")
_PACKAGING = re.compile(
    r"""[-_.:](gguf|hf|awq|qat|fp8|nvfp4|mxfp4|bf16|gptq|w8a8|quantized|quantised|dynamic|bnb|4bit|8bit|mlx|ud|int4|int8|static|pertensor"""
    r"""|block|[u]?d?-?i?q\d\w*|f16)$""",
    re.IGNORECASE,
)
"""Endings that say how the weights of a repository or file are packed, and nothing of the model."""

_16_BIT = frozenset(("bf16", "fp16", "bfloat16", "float16", "fp16/bf16", "f16"))


class NotScored(Exception):  # noqa: N818 - a reason to leave a row out is no error
    """Why a row can't be held against a prediction; ends up in `left_out`."""


def not_sized(error: FmkitError) -> str:
    """The reason for a row that sizing refused: the first clause of its message."""
    return f"not sized: {error.message.partition(';')[0]}"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The model, the engine, and how its weights are laid out.

    `exact` is False where only the file's header knows the layout (UD mixes): then `layout` is the nearest file type,
    good enough for a speed and not for bytes, or None.
    """

    spec: ModelSpec
    engine: str
    precision: str
    layout: Layout | None
    exact: bool = True


def subject_of(row: Measurement, catalog: Catalog) -> Subject:
    """What a row measures; NotScored says what is not known of it."""
    engine = engine_of(row)
    spec = spec_of(row, catalog)
    if engine == "llama.cpp":
        return gguf_subject(spec, row.quant, catalog)
    try:
        precision, layout = layout_of(row.quant, engine, spec, catalog)
    except NotScored:
        return Subject(spec=spec, engine=engine, precision=row.quant, layout=None, exact=False)
    return Subject(spec=spec, engine=engine, precision=precision, layout=layout)


def engine_of(row: Measurement) -> str:
    """The engine of fmkit that a row is of."""
    found = known_engine(row.engine)
    if found is None:
        raise NotScored(f"fmkit has no rules for the engine {row.engine!r}")
    return found


def known_engine(name: str) -> str | None:
    """The engine of fmkit by the name a measurement gives, a build's version included; None for one without rules here.

    >>> known_engine("llamacpp"), known_engine("vLLM 0.4.3+rocm614, PyTorch 2.3.0"), known_engine("SGLang")
    ('llama.cpp', 'vllm', None)
    """
    folded = name.casefold()
    return "vllm" if _VLLM_BUILD.match(folded) else ENGINES.get(folded)


def spec_of(row: Measurement, catalog: Catalog) -> ModelSpec:
    """The architecture of the measured model: its own, that of the model its weights were packed from, or one of the same shape.

    Nothing is inferred from sizes: a name must lead to a config.json.
    """
    names = [name for name in (row.hub_id, row.model_name) if name]
    found = named_spec(names, catalog)
    if found is None:
        raise NotScored(f"no config.json of {names[0] if names else 'the model'} in the catalog")
    return found


def named_spec(names: Sequence[str], catalog: Catalog) -> ModelSpec | None:
    """The architecture that one of the names of a model or of a file of its weights leads to."""
    tried = [variant for name in names for variant in _unpacked(name)]
    for name in tried:
        found = _known_spec(name, catalog)
        if found is not None:
            return found
    shapes = same_shapes()
    for name in tried:
        if name.casefold() in shapes:
            return _known_spec(shapes[name.casefold()].same_as, catalog)
    return None


def _unpacked(name: str) -> list[str]:
    """The name, and what is left of it without the endings that say how weights are packed.

    >>> _unpacked("Qwen/Qwen3-8B-GPTQ-Int8")
    ['Qwen/Qwen3-8B-GPTQ-Int8', 'Qwen/Qwen3-8B-GPTQ', 'Qwen/Qwen3-8B']
    >>> _unpacked("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf")[-1]
    'Meta-Llama-3.1-8B-Instruct'
    """
    found = [name]
    while (shorter := _PACKAGING.sub("", found[-1])) != found[-1]:
        found.append(shorter)
    return found


def _known_spec(name: str, catalog: Catalog) -> ModelSpec | None:
    """The architecture of a catalog model of that name (whoever packed it), or of a config.json without an entry."""
    last = name.rpartition("/")[2].casefold()
    publisher, _, bare = last.partition("_")  # files are named publisher_model where several publishers share a folder
    if bare and re.fullmatch(r"[a-z][a-z0-9-]*", publisher) and (found := _known_spec(bare, catalog)) is not None:
        return found
    for candidate in (name, last, last.removeprefix("meta-")):
        model_id = catalog.resolve(candidate)
        if model_id is not None:
            spec = catalog.model(model_id).spec
            if spec is not None:
                return spec
    file = config_files().get(name.casefold())
    if file is None:
        file = next((path for hub_id, path in config_files().items() if hub_id.rpartition("/")[2] == last), None)
    if file is None:
        return None
    try:
        return read_config_spec(file)
    except FmkitError as error:
        raise NotScored(f"config.json not understood: {error.message}") from error


def layout_of(quant: str, engine: str, spec: ModelSpec, catalog: Catalog) -> tuple[str, Layout]:
    """The precision and layout of vLLM or transformers that the row's `quant` names."""
    name = quant.casefold()
    layouts = catalog.engines[engine].layouts
    if name in _16_BIT or name.startswith("fp16 inference"):
        return "fp16", catalog.layouts[layouts["fp16"]]
    if name in ("fp32", "float32"):
        return "fp32", catalog.layouts[layouts["fp32"]]
    for precision, wanted, candidates in _QUANTISED:
        if wanted(name, engine):
            ordered = (spec.stored_layout, *candidates) if spec.stored_layout in candidates else candidates
            for layout_id in ordered:
                if layout_id in catalog.layouts:
                    return precision, catalog.layouts[layout_id]
    raise NotScored(f"no layout of {engine} for weights in {quant!r}")


MXFP4_REST_16_BIT = "mxfp4 (f16 non-expert)"
"""Files of gpt-oss that keep in 16 bit what isn't experts: 13.78 GB of the 20B, where llama.cpp's own quantiser makes 12.1 of it."""


def gguf_subject(spec: ModelSpec, quant: str, catalog: Catalog) -> Subject:
    """A GGUF file by the name of its type; a mix that follows no rule gets the nearest type that does, and is not exact."""
    name = quant.casefold().removeprefix("gguf ").removeprefix("i1-").strip()
    plain = {"int8": "q8_0", "int4": "q4_k_m", "fp16": "f16", "fp16/bf16": "f16", "bfloat16": "bf16", "fp32": "f32"}
    file_type = plain.get(name, name).upper()
    exact = file_type in FILE_TYPES
    if name == MXFP4_REST_16_BIT:
        stored = catalog.layouts["mxfp4"]
        return Subject(spec=spec, engine="llama.cpp", precision=name, layout=stored, exact=False)
    if not exact:
        file_type = _nearest_type(name)
    by_type = {layout.file_type: layout for layout in catalog.layouts.values() if layout.file_type}
    if file_type not in FILE_TYPES:
        return Subject(spec=spec, engine="llama.cpp", precision=name, layout=None, exact=False)
    layout = by_type.get(file_type) or Layout(
        name=f"GGUF {file_type}", weight_bits=None, rest_dtype="float16", source="llama-quant.cpp", file_type=file_type
    )
    precisions = {layout_id: precision for precision, layout_id in catalog.engines["llama.cpp"].layouts.items()}
    precision = precisions.get(layout.id, file_type.lower())
    return Subject(spec=spec, engine="llama.cpp", precision=precision, layout=layout, exact=exact)


def _nearest_type(name: str) -> str:
    """The file type whose average width is nearest to that of a mix; the mix itself is known to its header only.

    >>> _nearest_type("ud-q4_k_xl"), _nearest_type("mxfp4"), _nearest_type("q4_k_m (ollama default)")
    ('Q4_K_M', 'MXFP4_MOE', 'Q4_K_M')
    """
    if name.startswith("mxfp4"):
        return "MXFP4_MOE"
    family = re.search(r"q(\d)_k|q(\d)_0", name)
    if family is None:
        return ""
    return {"2": "Q2_K", "3": "Q3_K_M", "4": "Q4_K_M", "5": "Q5_K_M", "6": "Q6_K", "8": "Q8_0"}.get(
        family[1] or family[2], ""
    )


_QUANTISED = (
    ("int8", lambda name, _: "gptq" in name and "8" in name, ("gptq-int8-g128",)),
    ("int4", lambda name, _: "gptq" in name, ("gptq-int4-g128",)),
    ("int4", lambda name, _: "awq" in name, ("awq-g128",)),
    ("fp8", lambda name, engine: name == "fp8" and engine == "transformers", ("fp8-block",)),
    ("fp8", lambda name, _: name == "fp8", ("fp8-channel", "fp8-block")),
    ("int8", lambda name, _: "w8a8" in name, ("w8a8", "fp8-channel")),
    ("mxfp4", lambda name, _: name == "mxfp4", ("mxfp4",)),
    ("int4", lambda name, _: name == "nvfp4", ("nvfp4",)),
    ("int4", lambda name, _: "nf4" in name, ("bnb-nf4-dq", "bnb-nf4")),
    ("int8", lambda name, engine: name == "int8" and engine == "transformers", ("bnb-llm-int8",)),
    ("int4", lambda name, engine: name == "int4" and engine == "transformers", ("bnb-nf4-dq",)),
    ("int4", lambda name, engine: name == "int4" and engine == "vllm", ("awq-g128",)),
)
"""Precision, when it is meant, and the layouts that are it, the first that the catalog has."""


def machine_of(row: Measurement, catalog: Catalog) -> Machine | None:
    """The row's devices as a machine of the catalog; None where the catalog has no such device, or not which of several sizes."""
    device = device_of(row, catalog)
    return None if device is None or device.memory_bytes is None else catalog_machine(device, row.count or 1)


def device_of(row: Measurement, catalog: Catalog) -> Device | None:
    """The device that a row names by id or alias, if the catalog has it."""
    wanted = row.accelerator_id.casefold()
    device_id = wanted if wanted in catalog.devices else catalog.device_aliases.get(wanted)
    if device_id is None and (size := re.search(r"(\d+)\s*GB\b", row.accelerator_name)):
        sized = f"{wanted}-{size[1]}gb"
        device_id = sized if sized in catalog.devices else None
    return catalog.devices.get(device_id) if device_id is not None else None

"""llama.cpp's start-up log, from `llm_load_tensors` (2023) to `load_tensors` and `llama_kv_cache_iswa` (b115xx).

Every buffer is printed once with its device; a cache is printed per device and again as a sum, of which one is counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.sizing.logs.log import Figure, StartupLog, figure, shown, speaks_of_memory, stated_count

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGN = re.compile(
    r"load_tensors:|llama_(?:new_)?context|llama_kv_cache|print_info:|llm_load_print_meta|llama_model_loader",
    re.IGNORECASE,
)
_BUFFER = re.compile(r"(\S+)\s+(model |KV |RS |compute |output )?buffer size\s*=\s*(\d{1,8}\.\d{1,15}) (MiB)")
_SUM = re.compile(r"size\s*=\s*\d+\.\d+ MiB \(\s*(\d{1,12}) cells,\s*\d+ layers,\s*(\d{1,6})(?:/\s*(\d{1,6}))? seqs\)")
_TYPES = re.compile(r"\bK \((\w+)\):.*?\bV \((\w+)\):")
_FILE_TYPE = re.compile(r"(?:file type|model ftype)\s*=\s*(.+)")
_FILE_SIZE = re.compile(r"(?:file size|model size)\s*=\s*(\d+\.\d+) (GiB|MiB) \(")
_NAME = re.compile(r"general\.name\s+(?:str\s+)?=\s*(.+)")
_PATH = re.compile(r"loaded meta data with .{0,80}? from (\S+\.gguf)")
_LAYERS = re.compile(r"offloaded (\d{1,6})/(\d{1,6}) layers to GPU")
_SETTING = re.compile(
    r"\b(n_ctx|n_ctx_seq|n_ctx_per_seq|n_batch|n_ubatch|n_seq_max|flash_attn|kv_unified)\s*=\s*([\w-]+)"
)
_BUILD = re.compile(r"\bbuild(?:\s*[:=]|\s)\s*b?(\d{3,6})\b|\bversion: (\d{3,6})\b")
_WINDOW = re.compile(r"creating\s+SWA KV cache, size\s*=\s*(\d+) cells")
_NOT_WINDOW = re.compile(r"creating non-SWA KV cache, size\s*=\s*(\d+) cells")

PARTS = {
    "model ": "weights",
    "": "weights",
    "KV ": "cache",
    "RS ": "state",
    "compute ": "activations",
    "output ": "outputs",
}
_TYPE_WORDS = {"Medium": "M", "Small": "S", "Large": "L"}


def read(lines: Sequence[str]) -> StartupLog:
    """The log's buffers (per device) and settings."""
    figures: list[Figure] = []
    unknown: list[str] = []
    settings: dict[str, str] = {}
    for line in lines:
        hit = _BUFFER.search(line)
        if hit:
            _keep(figures, figure(PARTS[hit[2] or ""], hit[3], hit[4], line, hit[1]))
        if not _read_settings(line, settings) and not hit and speaks_of_memory(line):
            unknown.append(line)
    sequences = stated_count(settings, "n_seq_max", "seqs") or 1
    total = stated_count(settings, "n_ctx", "cells")
    return StartupLog(
        engine="llama.cpp",
        version=f"b{settings['build']}" if "build" in settings else None,
        model=settings.get("path") or settings.get("name"),
        weights=_stated(settings.get("file_type")),
        context_tokens=total // sequences if total is not None and total >= sequences else None,
        sequences=sequences,
        options=_options(settings),
        facts=settings,
        figures=tuple(figures),
        missing=_missing(figures, settings),
        not_understood=shown(unknown),
    )


def is_host(device: str) -> bool:
    """Whether a buffer lies in main memory: the CPU's own, or pinned for a device.

    >>> is_host("CPU_Mapped"), is_host("CUDA_Host"), is_host("CUDA0")
    (True, True, False)
    """
    return device.startswith(("CPU", "AMX")) or device.endswith("_Host")


def devices_without(figures: Sequence[Figure], part: str) -> tuple[str, ...]:
    """Devices that hold a cache, hence layers, and of which the log, cut short, has no buffer of `part` although of others it has.

    A buffer split over all devices carries their common name without a number.
    """
    names = {re.split(r"[_-]", each.device)[0] for each in figures if each.part == part and not is_host(each.device)}
    caches = dict.fromkeys(each.device for each in figures if each.part == "cache" and not is_host(each.device))
    return tuple(name for name in caches if names and not {name, name.rstrip("0123456789")} & names)


def file_type_id(words: str) -> str:
    """The id of a file type from how llama.cpp spells it.

    >>> file_type_id("Q4_K - Medium"), file_type_id("mostly F16"), file_type_id("IQ4_XS - 4.25 bpw"), file_type_id("MXFP4 MoE")
    ('Q4_K_M', 'F16', 'IQ4_XS', 'MXFP4_MOE')
    """
    text = words.replace("(guessed)", "").strip().removeprefix("mostly ").removeprefix("all ")
    base, _, rest = text.partition(" - ")
    if rest in _TYPE_WORDS:
        return f"{base}_{_TYPE_WORDS[rest]}"
    return base.strip().replace(" ", "_").upper()


def _stated(file_type: str | None) -> str | None:
    """The file type where the file says it; a guess of the program from the commonest tensor is none."""
    return None if file_type is None or "guessed" in file_type else file_type


def _keep(figures: list[Figure], new: Figure) -> None:
    """Add a figure. A compute buffer that is reserved again replaces its first, smaller one; model buffers of one device add up."""
    for place, old in enumerate(figures):
        if (old.part, old.device) == (new.part, new.device) and new.part in ("activations", "outputs"):
            figures[place] = max(old, new, key=lambda each: each.bytes)
            return
    figures.append(new)


def _read_settings(line: str, settings: dict[str, str]) -> bool:
    before = dict(settings)
    for name, value in _SETTING.findall(line):
        settings.setdefault(name, value)
    for name, pattern in (
        ("file_type", _FILE_TYPE),
        ("name", _NAME),
        ("path", _PATH),
        ("window_cells", _WINDOW),
        ("full_cells", _NOT_WINDOW),
    ):
        if hit := pattern.search(line):
            settings.setdefault(name, hit[1].strip())
    if hit := _FILE_SIZE.search(line):
        settings.setdefault("file_size", f"{hit[1]} {hit[2]}")
    if "quantize.imatrix.file" in line:
        settings["imatrix"] = "true"
    if hit := _LAYERS.search(line):
        settings |= {"gpu_layers": hit[1], "layers": hit[2]}
    if hit := _TYPES.search(line):
        settings |= {"cache_type_k": hit[1], "cache_type_v": hit[2]}
    summed = _SUM.search(line)
    if summed:
        cells = max(int(summed[1]), int(settings.get("cells", "0")))
        settings |= {"seqs": summed[2], "streams": summed[3] or "1", "cells": str(cells)}
    if hit := _BUILD.search(line):
        settings.setdefault("build", hit[1] or hit[2])
    return settings != before or bool(summed) or "KV self size" in line or bool(_FILE_SIZE.search(line))


def _options(settings: dict[str, str]) -> dict[str, str]:
    """Engine options by fmkit's names. Releases that print no `n_ctx_seq` reserved logits for the whole micro-batch."""
    found = {"outputs": "last" if "n_ctx_seq" in settings else "all"}
    if "imatrix" in settings:
        found["imatrix"] = "true"
    if "n_ubatch" in settings:
        found["ubatch"] = settings["n_ubatch"]
    if "flash_attn" in settings:
        found["flash_attention"] = "off" if settings["flash_attn"] in ("0", "disabled", "off") else "on"
    for name in ("cache_type_k", "cache_type_v"):
        if settings.get(name, "f16") != "f16":
            found[name] = settings[name]
    if settings.get("kv_unified") == "true" or ("kv_unified" not in settings and settings.get("streams") == "1"):
        found["kv_unified"] = "true"
    if "gpu_layers" in settings and int(settings["gpu_layers"]) < int(settings["layers"]):
        found["gpu_layers"] = settings["gpu_layers"]
    if "full_cells" in settings and settings.get("window_cells") == settings["full_cells"]:
        found["swa_full"] = "true"
    return found


def _missing(figures: Sequence[Figure], settings: dict[str, str]) -> tuple[str, ...]:
    parts = {each.part for each in figures}
    wanted = {
        "weights": "model buffers (load_tensors: ... model buffer size)",
        "activations": "compute buffers (llama_context: ... compute buffer size)",
    }
    absent = [text for part, text in wanted.items() if part not in parts]
    cut = {part: devices_without(figures, part) for part in wanted}
    absent += [
        f"the {part} of {', '.join(devices)}: the log has other devices' only"
        for part, devices in cut.items()
        if devices
    ]
    if not parts & {"cache", "state"}:
        absent.append("the cache (llama_kv_cache: ... KV buffer size)")
    if not {"n_ctx", "cells"} & set(settings):
        absent.append("the context (llama_context: n_ctx = ...)")
    if "file_type" not in settings:
        absent.append("how the weights are stored (print_info: file type = ...)")
    if not {"path", "name"} & set(settings):
        absent.append("the model's name (general.name, or the file loaded)")
    return tuple(absent)

"""SGLang's start-up log. Its GB are GiB: bytes are divided by 2**30 and labelled GB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.sizing.logs.log import (
    NUMBER,
    SHOWN_CHARACTERS,
    Figure,
    StartupLog,
    amount,
    figure,
    ranks_in,
    shown,
    speaks_of_memory,
    stated_count,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGN = re.compile(
    r"Load weight (?:begin|end)|KV Cache is allocated|Memory pool end|max_total_num_tokens|server_args|sglang",
    re.IGNORECASE,
)
_RANK = re.compile(r"\b(TP\d{1,4})\b")
_WEIGHTS = re.compile(rf"Load weight end\..*?mem usage={NUMBER}\s?(GB)")
_KEYS = re.compile(rf"#tokens: (\d{{1,12}}), K (?:size:? ?)?{NUMBER}\s?(GB), V (?:size:? ?)?{NUMBER}\s?GB")
_ONE_POOL = re.compile(rf"#tokens: (\d{{1,12}}), KV size: {NUMBER}\s?(GB)")
_GRAPHS = re.compile(rf"(?:Capture|CUDA graph).*?end\..*?mem usage={NUMBER}\s?(GB)", re.IGNORECASE)
_STATE = re.compile(rf"Mamba Cache is allocated.*?conv_state size: {NUMBER}\s?GB, ssm_state size: {NUMBER}\s?(GB)")
_WINDOW = re.compile(r"full_layer_tokens=(\d{1,12}), swa_layer_tokens=(\d{1,12})")
_AVAILABLE = re.compile(rf"avail(?:able_gpu)?[_ ]mem={NUMBER}\s?GB")
_MAX_TOKENS = re.compile(r"max_total_num_tokens=(\d{1,12})")
_CONTEXT = re.compile(r"context_len(?:gth)?=(\d{1,12})")
_DTYPE = re.compile(r"(?:dtype|dtype:)[= ]\s?torch\.(\w+)")
_KV_DTYPE = re.compile(r"KV Cache is allocated\. dtype: torch\.(\w+)")
_ARGS = re.compile(r"\b(model_path|tp_size|pp_size|quantization|kv_cache_dtype|dtype)=('[^']{0,500}'|[\w./+-]{1,500})")


def read(lines: Sequence[str]) -> StartupLog:
    """The log's figures (per rank) and settings. A cache part ends in the number of tokens it holds."""
    figures: list[Figure] = []
    unknown: list[str] = []
    settings: dict[str, str] = {}
    ranks: set[str] = set()
    for line in lines:
        hit = _RANK.search(line)
        ranks.add(hit[1] if hit else "")
        found = list(_figures(line, hit[1] if hit else ""))
        figures += found
        known = _read_settings(line, settings)
        if not found and not known and not _AVAILABLE.search(line) and speaks_of_memory(line):
            unknown.append(line)
    tokens = [int(each.part.split()[1]) for each in figures if each.part.startswith("cache ")]
    return StartupLog(
        engine="sglang",
        model=settings.get("model_path"),
        weights=settings.get("quantization") or settings.get("dtype"),
        context_tokens=stated_count(settings, "context_len"),
        tensor_parallel=stated_count(settings, "tp_size") or ranks_in(ranks),
        facts=settings,
        figures=tuple(figures),
        kv_tokens=max(tokens, default=None) or stated_count(settings, "max_tokens"),
        missing=_missing(figures, settings),
        not_understood=shown(unknown),
    )


def _figures(line: str, rank: str) -> list[Figure]:
    if hit := _WEIGHTS.search(line):
        return [figure("weights", hit[1], hit[2], line, rank)]
    if hit := _KEYS.search(line):
        keys, rounding = amount(hit[2], hit[3])
        values, _ = amount(hit[4], hit[3])
        part = f"cache {hit[1]}"
        return [
            Figure(
                part=part,
                bytes=keys + values,
                device=rank,
                rounding_bytes=2 * rounding,
                line=line.strip()[:SHOWN_CHARACTERS],
            )
        ]
    if hit := _ONE_POOL.search(line):
        return [figure(f"cache {hit[1]}", hit[2], hit[3], line, rank)]
    if hit := _STATE.search(line):
        first, second = amount(hit[1], hit[3])[0], amount(hit[2], hit[3])[0]
        return [
            Figure(
                part="state",
                bytes=first + second,
                device=rank,
                rounding_bytes=1 << 24,
                line=line.strip()[:SHOWN_CHARACTERS],
            )
        ]
    if hit := _GRAPHS.search(line):
        return [figure("graphs", hit[1], hit[2], line, rank)]
    return []


def _read_settings(line: str, settings: dict[str, str]) -> bool:
    before = len(settings)
    for name, value in _ARGS.findall(line) if "rgs" in line else ():
        if (plain := value.strip("'")) not in ("None", "auto", ""):
            settings.setdefault(name, plain)
    for name, pattern in (("kv_dtype", _KV_DTYPE), ("max_tokens", _MAX_TOKENS), ("context_len", _CONTEXT)):
        if hit := pattern.search(line):
            settings.setdefault(name, hit[1])
    if "Load weight end" in line and (hit := _DTYPE.search(line)):
        settings.setdefault("dtype", hit[1])
    if hit := _WINDOW.search(line):
        settings |= {"full_layer_tokens": hit[1], "swa_layer_tokens": hit[2]}
    return len(settings) > before


def _missing(figures: Sequence[Figure], settings: dict[str, str]) -> tuple[str, ...]:
    parts = {each.part.split()[0] for each in figures}
    absent = []
    if "weights" not in parts:
        absent.append("how much the weights took (Load weight end ... mem usage)")
    if "cache" not in parts:
        absent.append("what the cache holds (KV Cache is allocated ... #tokens)")
    if "model_path" not in settings:
        absent.append("the model's name (server_args ... model_path)")
    return tuple(absent)

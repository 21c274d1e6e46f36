"""vLLM's start-up log, from 0.2 (`# GPU blocks`) to the `Initializing a V1 LLM engine` of 0.2x.

Ranks of tensor parallelism print the same lines interleaved: a figure keeps the rank that printed it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.logs.log import (
    COUNT,
    NUMBER,
    Figure,
    StartupLog,
    amount,
    figure,
    ranks_in,
    shown,
    speaks_of_memory,
    stated_count,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANK = re.compile(r"(?:Worker_)?((?:TP|PP|EP|DP)\d+(?:_\w+)?)|rank(\d+)")
SIGN = re.compile(
    r"\bvllm\b|gpu_model_runner|model_runner\.py|kv_cache_utils|gpu_worker|gpu_executor|executor_base|EngineCore",
    re.IGNORECASE,
)

_ONE = (
    ("weights", re.compile(rf"(?:Loading model weights|Model loading) took {NUMBER}\s?(GiB|GB|MiB|MB)")),
    ("available", re.compile(rf"Available KV cache memory: {NUMBER}\s?(GiB|GB)")),
    ("graphs", re.compile(rf"Graph capturing finished in [\d.]+ secs?, took {NUMBER}\s?(GiB|GB)")),
    ("graphs expected", re.compile(rf"Estimated CUDA graph memory: {NUMBER}\s?(GiB|GB) total")),
    ("non-torch", re.compile(rf"non_torch_memory takes {NUMBER}\s?(GiB)")),
    ("activations", re.compile(rf"PyTorch activation peak memory takes {NUMBER}\s?(GiB)")),
    ("available", re.compile(rf"memory reserved for KV Cache is {NUMBER}\s?(GiB)")),
    ("weights", re.compile(rf"model weights take {NUMBER}\s?(GiB)")),
    ("activations", re.compile(rf"torch peak memory increase: {NUMBER}\s?(GiB)")),
    ("non-torch", re.compile(rf"non-torch forward increase memory: {NUMBER}\s?(GiB)")),
    ("weights", re.compile(rf"Actual usage is {NUMBER}\s?(GiB) for weight")),
    ("activations", re.compile(rf"{NUMBER}\s?(GiB) for peak activation")),
    ("non-torch", re.compile(rf"{NUMBER}\s?(GiB) for non-torch memory")),
    ("graphs", re.compile(rf"{NUMBER}\s?(GiB) for CUDAGraph memory")),
    ("torch peak", re.compile(rf"peak_torch_memory={NUMBER}(GiB)")),
    ("non-torch", re.compile(rf"non_torch_memory={NUMBER}(GiB)")),
    ("available", re.compile(rf"kv_cache_size={NUMBER}(GiB)")),
)
"""What single amounts are of; one line may hold several."""

_TOTAL = re.compile(rf"total_gpu_memory \({NUMBER}\s?GiB\)\s+x gpu_memory_utilization \((0?\.\d+|1\.0+)\)")
_PROFILED = re.compile(rf"total_gpu_memory={NUMBER}GiB.{{0,300}}? gpu_memory_utilization=(0?\.\d+|1(?:\.0+)?)")
_FREE = re.compile(rf"Free memory on device \({NUMBER}/{NUMBER}\s?GiB\).*?utilization is \((0?\.\d+|1(?:\.0+)?),")
_TOKENS = re.compile(rf"KV cache size:\s+{COUNT} tokens")
_REFUSED = re.compile(rf"larger than the maximum number of tokens that can be stored in KV cache \({COUNT}\)")
_BLOCKS = re.compile(rf"# (?:GPU|CUDA|cuda|gpu) blocks: {COUNT}")
_CONCURRENCY = re.compile(rf"Maximum concurrency for {COUNT} tokens(?: per request|/request)?:\s*{NUMBER}x")
_CONFIG = re.compile(r"Initializing an? (?:V\d )?(?:LLM|AsyncLLM)? ?engine(?: \(v?([^)\s]+)\))? with config")
_VERSION = re.compile(r"vLLM (?:API server )?version v?(\d[\w.+]*)|\(v(\d[\w.+]*)\) with config")
_MODEL = re.compile(r"Starting to load model (\S+?)(?:\.\.\.|$)")
_KEY = re.compile(r"['\"]?\b(model|max_seq_len|max_model_len|tensor_parallel_size|pipeline_parallel_size|quantization|kv_cache_dtype|"
                  r"enforce_eager|dtype|max_num_batched_tokens|max_num_seqs|gpu_memory_utilization|block_size)['\"]?\s?[=:]\s?"
                  r"('[^']{0,500}'|\"[^\"]{0,500}\"|[\w./+-]{1,500})")  # fmt: skip
_CHUNKED = re.compile(r"max_num_batched_tokens=(\d+)")

MISSING_CARD = "the card's memory"
DEFAULT_BLOCK_TOKENS = 16
_OPTIONS = ("max_num_batched_tokens", "max_num_seqs", "gpu_memory_utilization", "block_size")


def read(lines: Sequence[str]) -> StartupLog:
    """The log's figures (per rank) and settings."""
    log = _Log()
    for line in lines:
        log.read(line)
    settings = log.settings
    figures = [*log.figures, *_activations(log.figures)]
    tokens = log.cached_tokens()
    return StartupLog(
        engine="vllm",
        version=settings.get("version"),
        model=settings.get("model"),
        weights=_weights(settings),
        context_tokens=stated_count(settings, "max_seq_len", "max_model_len")
        or (log.concurrency[1] if log.concurrency else None),
        tensor_parallel=stated_count(settings, "tensor_parallel_size") or ranks_in(log.ranks),
        pipeline_parallel=stated_count(settings, "pipeline_parallel_size") or 1,
        options=_options(settings),
        facts={name: value for name, value in settings.items() if name not in ("total", "version", "model")},
        figures=tuple(figures),
        kv_tokens=tokens,
        concurrency=log.concurrency,
        total_bytes=amount(settings["total"], "GiB")[0] if "total" in settings else None,
        missing=_missing(figures, tokens, settings),
        not_understood=shown(log.unknown),
    )


class _Log:
    """What was read so far, line by line."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.settings: dict[str, str] = {}
        self.ranks: set[str] = set()
        self.concurrency: tuple[float, int] | None = None
        self.unknown: list[str] = []
        self._tokens: list[int] = []
        self._blocks: list[int] = []

    def read(self, line: str) -> None:
        """One line; kept as unknown where it speaks of memory and is not understood."""
        rank = _rank(line)
        self.ranks.add(rank)
        found = [figure(part, hit[1], hit[2], line, rank) for part, pattern in _ONE if (hit := pattern.search(line))]
        self.figures += found
        understood = [bool(found), self._read_cache(line), _read_settings(line, self.settings)]
        if not any(understood) and speaks_of_memory(line):
            self.unknown.append(line)

    def _read_cache(self, line: str) -> bool:
        """What a line says of the tokens that the cache holds; whether it did."""
        tokens, blocks = _TOKENS.search(line) or _REFUSED.search(line), _BLOCKS.search(line)
        requests = _CONCURRENCY.search(line)
        if tokens:
            self._tokens.append(whole(tokens[1]))
        if blocks:
            self._blocks.append(whole(blocks[1]))
        if requests:
            self.concurrency = (float(requests[2]), whole(requests[1]))
        return bool(tokens or blocks or requests)

    def cached_tokens(self) -> int | None:
        """Tokens that the cache of the fullest rank holds: as printed, else those of its blocks."""
        if self._tokens or not self._blocks:
            return min(self._tokens, default=None)
        return min(self._blocks) * (stated_count(self.settings, "block_size") or DEFAULT_BLOCK_TOKENS)


def _read_settings(line: str, settings: dict[str, str]) -> bool:
    """What a line says of the configuration; whether it did."""
    before = len(settings)
    if hit := _VERSION.search(line):
        settings.setdefault("version", hit[1] or hit[2])
    if hit := _TOTAL.search(line) or _PROFILED.search(line):
        settings |= {"total": hit[1], "gpu_memory_utilization": hit[2]}
    if hit := _FREE.search(line):
        settings |= {"total": hit[2], "gpu_memory_utilization": hit[3]}
    if hit := _MODEL.search(line):
        settings.setdefault("model", hit[1])
    if hit := _CHUNKED.search(line):
        settings["max_num_batched_tokens"] = hit[1]
    if _CONFIG.search(line) or "non-default args" in line or "Namespace(" in line:
        for name, value in _KEY.findall(line):
            if (plain := value.strip("'\"")) not in ("None", ""):
                settings.setdefault(name, plain)
        return True
    return len(settings) > before


def _activations(figures: Sequence[Figure]) -> list[Figure]:
    """What 0.6 prints as PyTorch's peak holds the weights too: less them it is what the profile took."""
    weights = {each.device: each for each in figures if each.part == "weights" and each.bytes >= 0}
    return [
        msgspec.structs.replace(
            peak,
            part="activations",
            bytes=peak.bytes - held.bytes,
            rounding_bytes=peak.rounding_bytes + held.rounding_bytes,
        )
        for peak in figures
        if peak.part == "torch peak" and (held := weights.get(peak.device)) is not None
    ]


def _rank(line: str) -> str:
    hit = _RANK.search(line)
    return (hit[1] or f"TP{hit[2]}") if hit else ""


def _weights(settings: dict[str, str]) -> str | None:
    """How the weights are stored: the quantisation the engine names, else the type of the model."""
    return settings.get("quantization") or settings.get("dtype", "").removeprefix("torch.") or None


def _options(settings: dict[str, str]) -> dict[str, str]:
    found = {name: settings[name] for name in _OPTIONS if name in settings}
    if settings.get("kv_cache_dtype", "auto") != "auto":
        found["kv_cache_dtype"] = settings["kv_cache_dtype"].removeprefix("torch.").replace("float8_", "fp8_")
    if settings.get("enforce_eager", "").casefold() == "true":
        found["enforce_eager"] = "true"
    return found


def _missing(figures: Sequence[Figure], tokens: int | None, settings: dict[str, str]) -> tuple[str, ...]:
    """The lines a whole log has and this one lacks."""
    parts = {each.part for each in figures}
    absent = []
    if "weights" not in parts:
        absent.append("how much the weights took (Model loading took ...)")
    if "available" not in parts:
        absent.append("what is left for the cache (Available KV cache memory ...)")
    if tokens is None:
        absent.append("how many tokens the cache holds (GPU KV cache size ...)")
    if "activations" not in parts:
        absent.append("what the start-up profile took: only debug logs and releases before 0.8 print it")
    if "total" not in settings:
        absent.append(MISSING_CARD)
    if "gpu_memory_utilization" not in settings:
        absent.append("gpu_memory_utilization")
    if "model" not in settings:
        absent.append("the model's name (Initializing a V1 LLM engine ... with config)")
    return tuple(absent)

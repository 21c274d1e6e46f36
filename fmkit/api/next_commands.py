"""What to type next after `fmkit vram`: the same command again with one option more, or a trial of what fits."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from fmkit.api.asked import one_or_many, tokens
from fmkit.api.quantisers import QUANTISERS
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fmkit.results.vram import Estimate

DEFAULTS = {
    "--engine": "transformers", "--attention": "sdpa", "--tensor-parallel": 1, "--pipeline-parallel": 1, "--expert-parallel": 1,
}  # fmt: skip
LENGTHS = ("--context", "--encoder-tokens")
ELSEWHERE = ("--gpu", "--memory", "--engine")
"""Options that say what a trial on this machine may not have."""
SERVER = "http://localhost:8000/v1"
"""Where vLLM listens: what only a server runs is tried at its address."""
TRIED = ("fp16", "int8", "int4")
"""Precisions that transformers has of its own, whatever another engine makes of them."""


def given(options: Mapping[str, object]) -> dict[str, object]:
    """The options that were given, by the names they are typed by; what has its default was not."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value not in ("", [], ()) and value != DEFAULTS.get(name)
    }


def again(ref: str, options: Mapping[str, object], *added: str) -> str:
    """`fmkit vram` of the same model with `added`, and the options as they were given.

    >>> again("gpt2", {"--gpu": "rtx-4090", "--context": [53248, "1k"], "--offload": True}, "--fit")
    'fmkit vram gpt2 --fit --gpu rtx-4090 --context 52k,1k --offload'
    """
    return shlex.join(["fmkit", "vram", ref, *added, *_typed(options)])


def _typed(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        if value is True or name == "--offload":
            yield name
            continue
        values = one_or_many(value, name)  # type: ignore[type-var]
        if name == "--engine-option":
            yield from (word for setting in values for word in (name, str(setting)))
        else:
            yield from (name, ",".join(_length(each, name) if name in LENGTHS else str(each) for each in values))


def _length(value: object, where: str) -> str:
    """A length without commas, which separate values."""
    return format_tokens(tokens(value, where)).replace(",", "")


def next_commands(
    ref: str,
    estimates: Sequence[Estimate],
    options: Mapping[str, object],
    *,
    fit: bool,
    in_file: bool,
    instead: str | None = None,
) -> tuple[str, ...]:
    """The inverse where it was not asked for, and a trial of the first that fits; of a file that is one engine's, no trial.

    A trial takes no `--gpu`: it runs on this machine. `instead` is the precision to ask for where none of those asked about can be loaded.
    """
    if instead is not None:
        return (again(ref, {**options, "--precision": instead}),)
    best = next((found for found in estimates if found.fits and found.valid and _can_be_tried(found)), None)
    trial = () if best is None or in_file else (_trial(ref, best, options),)
    if fit or (trial and not any(name in options for name in ELSEWHERE)):
        return trial
    return (again(ref, options, "--fit"), *trial)


def _trial(ref: str, best: Estimate, options: Mapping[str, object]) -> str:
    words = ["fmkit", "try", ref]
    words += ["--engine", SERVER] if best.engine == "vllm" else ["--random-weights", "--precision", best.precision]
    if "--context" in options:
        words += ["--context", _length(best.context_tokens, "--context")]
    if "--sequences" in options:
        words += ["--sequences", str(best.sequences)]
    return shlex.join([*words, *(["--offline"] if "--offline" in options else [])])


def _can_be_tried(estimate: Estimate) -> bool:
    """Whether `fmkit try` runs this precision: a server has loaded its own, and what other engines load it makes of transformers' own."""
    return (
        estimate.engine == "vllm"
        or estimate.layout in QUANTISERS
        or (estimate.engine != "transformers" and estimate.precision in TRIED)
    )

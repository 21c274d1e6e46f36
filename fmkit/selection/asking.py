"""From what people type to a Request: every value checked against the names the catalog knows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, cast

from fmkit.errors import UsageError, nearest_phrase
from fmkit.selection.facts import Licence, LicenceClass, Modality
from fmkit.selection.languages import LANGUAGE_CODES, language_code
from fmkit.selection.licences import LICENCE_CLASSES
from fmkit.selection.regions import region_code
from fmkit.selection.request import DEFAULT_PRECISIONS, SCORE_PARTS, Request, parse_weights
from fmkit.units import parse_seconds, parse_tokens

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "video", "pdf")
SECONDS_PER_DAY = 86400
MOST_LISTED = 64
FEW = 6
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")


@dataclass(frozen=True, kw_only=True)
class Known:
    """The names a question may use. `precisions` maps ids and aliases to ids; `engines` names to the precisions each has."""

    licences: Mapping[str, Licence]
    families: tuple[str, ...]
    precisions: Mapping[str, str]
    engines: Mapping[str, tuple[str, ...]]
    languages: tuple[str, ...] = ()
    """Codes that some model lists; empty: any code is taken."""

    def has_precisions(self, engine: str, asked: str | Sequence[str] | None) -> bool:
        """Whether `engine` runs every precision asked for; True where none was."""
        return all(self.precisions.get(name.lower()) in self.engines[engine] for name in listed(asked))


def build_request(task: str, options: Mapping[str, Any], known: Known, *, hardware_named: bool) -> Request:
    """The typed request of a task and its options, which have the names of the command line and may be absent or None."""
    asked = {name: value for name, value in options.items() if value is not None and value is not False}
    classes, ids = _licences(asked.get("licence"), known)
    engine = _engine(asked.get("engine", "transformers"), known)
    request = Request(
        task=task,
        context_tokens=_tokens(asked.get("context"), "--context"),
        sequences=_whole(asked.get("sequences", 1), "--sequences"),
        licence_classes=classes,
        licences=ids,
        use=_one_of(asked.get("use"), ("commercial", "research"), "use", "--use"),
        region=None if "region" not in asked else region_code(asked["region"], where="--region"),
        monthly_users=None if "monthly_users" not in asked else _whole(asked["monthly_users"], "--monthly-users"),
        train_on_outputs=bool(asked.get("train_on_outputs")),
        languages=_languages(asked.get("language"), known),
        modalities=_modalities(asked.get("modality")),
        min_tokens_per_s=_positive(asked.get("min_tokens_per_s"), "--min-tokens-per-s"),
        max_ttft_s=_seconds(asked.get("max_ttft"), "--max-ttft"),
        min_quality=_share(asked.get("min_quality"), "--min-quality"),
        engine=engine,
        precisions=_precisions(asked.get("precision"), engine, known),
        open_only=bool(asked.get("open_only")),
        api_only=bool(asked.get("api_only")),
        data_stays_here=bool(asked.get("data_stays_here")),
        hardware_named=hardware_named,
        released_after=date_text(asked.get("released_after"), "--released-after"),
        exclude_families=_families(asked.get("exclude"), known, "--exclude"),
        only_families=_families(asked.get("only"), known, "--only"),
        domain=asked.get("domain"),
        requests_per_day=_requests_per_day(asked),
        prompt_tokens=_tokens(asked.get("prompt_tokens"), "--prompt-tokens"),
        output_tokens=_tokens(asked.get("output_tokens"), "--output-tokens"),
        weights=_weights(asked.get("weight")),
    )
    _refuse_contradictions(request)
    return request


def listed(value: str | Sequence[str] | None) -> list[str]:
    """The values of an option given as one text with commas, or as several.

    >>> listed("fp16, int8"), listed(["en", "de,fr"]), listed(None)
    (['fp16', 'int8'], ['en', 'de', 'fr'], [])
    """
    pieces = [value] if isinstance(value, str) else list(value or ())
    return [part.strip() for piece in pieces for part in piece.split(",") if part.strip()]


def _refuse_contradictions(request: Request) -> None:
    if request.api_only and (request.open_only or request.data_stays_here):
        other = "--open-only" if request.open_only else "--data-stays-here"
        raise UsageError(f"--api-only and {other} exclude each other: no model can pass both", where="--api-only")
    clash = set(request.exclude_families) & set(request.only_families)
    if clash:
        raise UsageError(f"{', '.join(sorted(clash))} is both excluded and the only one asked for", where="--exclude")
    context, prompt = request.context_tokens, request.prompt_tokens
    if context is not None and prompt is not None and prompt > context:
        raise UsageError(f"a prompt of {prompt:,} tokens does not fit into a context of {context:,}", where="--context")


def _licences(value: str | Sequence[str] | None, known: Known) -> tuple[tuple[LicenceClass, ...], tuple[str, ...]]:
    by_name = {name.lower(): key for key, licence in known.licences.items() for name in (key, *licence.aliases)}
    classes: dict[LicenceClass, None] = {}
    ids: dict[str, None] = {}
    for name in (item.lower() for item in listed(value)):
        if name in LICENCE_CLASSES:
            classes[name] = None
        elif name in by_name:
            ids[by_name[name]] = None
        else:
            raise unknown_name(
                "licence", name, list(dict.fromkeys([*LICENCE_CLASSES, *known.licences])), where="--licence"
            )
    return tuple(classes), tuple(ids)


def _languages(value: str | Sequence[str] | None, known: Known) -> tuple[str, ...]:
    codes: dict[str, None] = {}
    for name in listed(value):
        code = language_code(name, where="--language")
        listed_codes = {*known.languages, *LANGUAGE_CODES.values()}
        if known.languages and code.partition("-")[0] not in listed_codes:
            raise unknown_name("language", name, sorted(listed_codes), where="--language")
        codes[code] = None
    return tuple(codes)


def unknown_name(
    noun: str, value: str, valid: Sequence[str], *, where: str, next_command: str | None = None
) -> UsageError:
    """An error for a name that is not known. It always names some: the near ones, else all, else the least unlike.

    >>> str(unknown_name("family", "nofamily", ["gemma", "llama-3"], where="--only"))
    "unknown family 'nofamily'; valid: gemma, llama-3"
    """
    near = nearest_phrase(value, valid)
    if not near:
        alike = sorted(valid, key=lambda name: (-SequenceMatcher(None, value.lower(), name.lower()).ratio(), name))
        near = (
            f"; valid: {', '.join(valid)}" if len(valid) <= MOST_LISTED else f"; least unlike: {', '.join(alike[:FEW])}"
        )
    return UsageError(f"unknown {noun} {value!r}{near}", where=where, next_command=next_command)


def _engine(name: str, known: Known) -> str:
    if name not in known.engines:
        raise UsageError.unknown("engine", name, known.engines, where="--engine")
    return name


def _precisions(value: str | Sequence[str] | None, engine: str, known: Known) -> tuple[str, ...]:
    names: dict[str, None] = {}
    available = known.engines[engine]
    for name in (item.lower() for item in listed(value)):
        precision = known.precisions.get(name)
        if precision is None or precision not in available:
            raise UsageError.unknown("precision", name, available, where="--precision")
        names[precision] = None
    return tuple(names) or DEFAULT_PRECISIONS


def _families(value: str | Sequence[str] | None, known: Known, where: str) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in (item.lower() for item in listed(value)):
        matching = matching_families(name, known.families)
        if not matching:
            raise unknown_name("family", name, known.families, where=where)
        names.update(dict.fromkeys(matching))
    return tuple(names)


def matching_families(name: str, families: Sequence[str]) -> list[str]:
    """The family of that name, or all generations of it.

    >>> matching_families("qwen", ["llama-2", "qwen2.5", "qwen3"]), matching_families("llama-2", ["llama-2", "llama-2-x"])
    (['qwen2.5', 'qwen3'], ['llama-2'])
    """
    if name in families:
        return [name]
    generation = re.compile(rf"{re.escape(name)}[-.\d]")
    return [family for family in families if generation.match(family)]


def _modalities(value: str | Sequence[str] | None) -> tuple[Modality, ...]:
    return tuple(
        dict.fromkeys(
            cast("Modality", _one_of(item.lower(), MODALITIES, "modality", "--modality")) for item in listed(value)
        )
    )


def _weights(value: str | Sequence[str] | Mapping[str, float] | None) -> dict[str, float]:
    if isinstance(value, Mapping):
        return parse_weights(",".join(f"{part}={weight}" for part, weight in value.items()))
    weights = parse_weights(",".join(listed(value)))
    if len(weights) == len(SCORE_PARTS) and not any(weights.values()):
        raise UsageError("all weights are zero: at least one part must count", where="--weight")
    return weights


def _requests_per_day(asked: Mapping[str, Any]) -> float | None:
    if "requests_per_day" in asked and "requests_per_s" in asked:
        raise UsageError(
            "--requests-per-day and --requests-per-s say the same twice: give one", where="--requests-per-s"
        )
    per_s = _positive(asked.get("requests_per_s"), "--requests-per-s")
    return _positive(asked.get("requests_per_day"), "--requests-per-day") if per_s is None else per_s * SECONDS_PER_DAY


def _one_of(value: str | None, valid: Sequence[str], noun: str, where: str) -> Any:  # noqa: ANN401 - a Literal of `valid`
    if value is not None and value not in valid:
        raise UsageError.unknown(noun, value, valid, where=where)
    return value


def _tokens(value: str | int | None, where: str) -> int | None:
    return None if value is None else parse_tokens(str(value), where=where)


def _seconds(value: str | float | None, where: str) -> float | None:
    if value is None:
        return None
    return parse_seconds(value if isinstance(value, str) else f"{value:f}s", where=where)


def _whole(value: float | str, where: str) -> int:
    number = _positive(value, where)
    if number is None or number != int(number):
        raise UsageError(f"can't read {value!r}: write a whole number of at least 1", where=where)
    return int(number)


def _positive(value: float | str | None, where: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"can't read {value!r}: write a number above 0", where=where)
    return number


def _share(value: float | str | None, where: str) -> float | None:
    number = None if value is None else float(value)
    if number is not None and not 0 <= number <= 1:
        raise UsageError(f"quality goes from 0 to 1 among the catalog's models, not {value}", where=where)
    return number


def date_text(value: str | None, where: str) -> str | None:
    """A date as far as it was typed: a year, a month or a day.

    >>> date_text("2024-07", "--since")
    '2024-07'
    """
    if value is not None and not _DATE.fullmatch(value):
        raise UsageError(f"can't read date {value!r}: write 2024, 2024-07 or 2024-07-23", where=where)
    return value

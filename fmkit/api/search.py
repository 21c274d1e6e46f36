"""`fmkit recommend --search`: models of the Hub that the catalog does not have, judged by what is known of them.

Nobody's score comes with them, so that they are never ranked; their size is exact, read from their headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.live import licence_id
from fmkit.errors import FmkitError, NetworkNeededError, UsageError
from fmkit.selection.constraints import Exclusion
from fmkit.selection.facts import Candidate
from fmkit.selection.languages import LANGUAGE_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.hub.live import Described
    from fmkit.model.spec import ModelSpec
    from fmkit.selection.facts import HubFacts, Modality, Task, Tuning

MOST_SIZED = 8
"""Models whose headers are read in one search."""

DEADLINE_S = 120.0

_TEXT, _SEES = ("text-generation",), ("image-text-to-text",)
_EMBEDS = ("sentence-similarity", "feature-extraction")
KINDS: Mapping[str, tuple[str | None, ...]] = {
    "chat": _TEXT, "reasoning": _TEXT, "code": _TEXT, "code-completion": _TEXT, "tool-calling": _TEXT, "structured-output": _TEXT,
    "long-document-qa": _TEXT, "multilingual": _TEXT, "edge": _TEXT, "summarisation": ("summarization", "text-generation"),
    "translation": ("translation",), "classification": ("text-classification", "fill-mask"), "ner": ("token-classification", "fill-mask"),
    "embedding": _EMBEDS, "retrieval": _EMBEDS, "rerank": ("text-ranking",), "image-text": ("zero-shot-image-classification",),
    "vision-qa": _SEES, "document-qa": _SEES, "ocr": _SEES, "transcription": ("automatic-speech-recognition",),
    "biomedical": (None,), "legal": (None,),
}  # fmt: skip
"""The Hub's pipeline tags under which models for a task are filed; None where it has none for it: then words have to find them."""

_TUNINGS: Mapping[str, Tuning] = {
    "sentence-similarity": "embedding", "feature-extraction": "embedding", "zero-shot-image-classification": "embedding", "fill-mask": "base",
}  # fmt: skip
_INPUTS: Mapping[str, tuple[Modality, ...]] = {
    "image-text-to-text": ("text", "image"),
    "zero-shot-image-classification": ("text", "image"),
    "automatic-speech-recognition": ("audio",),
}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Models that the catalog lacks: as candidates, each with its architecture and what the Hub says; refused ones with the reason."""

    candidates: tuple[Candidate, ...]
    specs: dict[str, ModelSpec]
    facts: dict[str, HubFacts]
    excluded: tuple[Exclusion, ...]
    note: str = ""


def search_hub(
    words: str,
    task: Task,
    catalog: Catalog,
    *,
    copies: bool = False,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Found:
    """Models for `task` whose names have these words, publishers of catalog models first; `copies` takes re-uploads and merges too.

    Raises UsageError where neither words nor the Hub's own tags say what to look for, NetworkNeededError, UnsafeInputError.
    """
    from fmkit.hub.client import HubClient  # noqa: PLC0415  the network client only when the Hub is asked
    from fmkit.hub.connection import switched_off  # noqa: PLC0415
    from fmkit.hub.search import search_models, sort_out  # noqa: PLC0415

    words = " ".join(words.split())
    kinds = KINDS.get(task.id, (None,))
    _check_words(words, kinds, task)
    if offline or switched_off():
        raise NetworkNeededError(
            "a search asks the Hub, and the network is off",
            where="--search",
            next_command="leave out --offline (and HF_HUB_OFFLINE), or --search",
        )
    if progress is not None:
        progress("searching the Hub ...")
    client = HubClient(DEADLINE_S, progress)
    known = [one.hub_id for one in catalog.candidates() if one.hub_id is not None]
    listed = search_models(client, words, kinds)
    new = [one for one in listed if catalog.resolve(one.id) is None]
    sorted_out = sort_out(new, {hub_id.partition("/")[0].casefold() for hub_id in known}, known)
    chosen = (sorted_out.own + sorted_out.copies if copies else sorted_out.own)[:MOST_SIZED]
    sized = client.get_all(lambda one: _sized(one, catalog), chosen, "the Hub")
    left_out = 0 if copies else len(sorted_out.copies)
    found = _found(list(zip(chosen, sized, strict=True)), task, catalog)
    note = _note(len(listed), len(listed) - len(new), left_out, len(chosen), len(found.specs))
    return msgspec.structs.replace(found, note=note)


def _check_words(words: str, kinds: Sequence[str | None], task: Task) -> None:
    """Where the Hub has no tag for a task, the words alone have to say what to look for."""
    if not words and None in kinds:
        raise UsageError(
            f"the Hub has no tag for {task.id}: say which words a model's name has",
            where="--search",
            next_command=f"fmkit recommend {task.id} --search WORDS",
        )


def _found(pairs: Sequence[tuple[Described, ResolvedModel | FmkitError]], task: Task, catalog: Catalog) -> Found:
    """The models whose architecture is known, as candidates; the others with the reason."""
    from fmkit.hub.live import facts_of  # noqa: PLC0415  with the network client

    specs = {
        one.id: found.spec
        for one, found in pairs
        if not isinstance(found, FmkitError) and found.spec is not None and found.engine is None
    }
    return Found(
        candidates=tuple(_candidate(one, specs[one.id], task, catalog) for one, _ in pairs if one.id in specs),
        specs=specs,
        facts={one.id: facts_of(one) for one, _ in pairs},
        excluded=tuple(_refused(one, found) for one, found in pairs if one.id not in specs),
    )


def _sized(found: Described, catalog: Catalog) -> ResolvedModel | FmkitError:
    """The model by its headers; what is wrong with a single one does not end the search, a lost network does."""
    from fmkit.api.resolve import from_hub  # noqa: PLC0415

    try:
        return from_hub(found.id, found.id, None, catalog)
    except NetworkNeededError:
        raise
    except FmkitError as error:
        return error


def _refused(listed: Described, found: ResolvedModel | FmkitError) -> Exclusion:
    if isinstance(found, FmkitError):
        reason = found.message
    elif found.engine is not None:
        reason = f"GGUF files only: fmkit vram {listed.id} sizes each"
    else:
        reason = "its files say no architecture that could be sized"
    return Exclusion(model=listed.id, constraint="not sized", reason=reason)


def _candidate(listed: Described, spec: ModelSpec, task: Task, catalog: Catalog) -> Candidate:
    """What the Hub's tags and the files say, as selection takes it; what they don't say stays unknown."""
    from fmkit.hub.live import facts_of  # noqa: PLC0415

    facts = facts_of(listed)
    bases = [base for kind in ("finetune", "quantized", "merge") for base in listed.tags_after(f"base_model:{kind}:")]
    base = next((name for hub_id in bases if (name := catalog.resolve(hub_id)) is not None), None)
    tuning = tuning_of(listed)
    return Candidate(
        id=listed.id,
        name=listed.id.partition("/")[2],
        hub_id=listed.id,
        family=catalog.model(base).candidate.family if base is not None else spec.architecture,
        publisher=listed.id.partition("/")[0],
        spec_kind=spec.kind,
        tuning=tuning,
        licence=licence_id(facts.licence, catalog.licences) or facts.licence or "unknown",
        tasks=(task.id,),
        not_for=(),
        languages=tuple(tag for tag in listed.tags or () if tag in LANGUAGE_CODES.values()),
        inputs=_INPUTS.get(listed.pipeline_tag or "", ("text",)),
        outputs=(),
        context_tokens=spec.max_context_tokens,
        params=spec.params,
        active_params=spec.active_params,
        released=None,
        scores=(),
        base_model=base,
        gated=facts.gated,
        needs_fine_tune=tuning == "base" and listed.pipeline_tag == "fill-mask",
        notes=_said(listed, facts, tuning, bases, base),
        sources={"hub": f"https://huggingface.co/{listed.id}"},
    )


def tuning_of(found: Described) -> Tuning:
    """What a model was tuned for, as far as the Hub's tags say: `conversational` is set where it has a chat template.

    >>> from fmkit.hub.live import Described
    >>> tuning_of(Described(id="a/b", pipeline_tag="text-generation", tags=["conversational"]))
    'instruct'
    >>> tuning_of(Described(id="a/b", pipeline_tag="text-generation")), tuning_of(Described(id="a/b", pipeline_tag="text-ranking"))
    ('base', 'task-tuned')
    """
    kind, tags = found.pipeline_tag or "", found.tags or ()
    if "sentence-transformers" in tags and kind != "text-ranking":
        return "embedding"
    if kind in {"text-generation", "image-text-to-text", "any-to-any", ""}:
        return "instruct" if "conversational" in tags else "base"
    return _TUNINGS.get(kind, "task-tuned")


def _said(listed: Described, facts: HubFacts, tuning: Tuning, bases: list[str], base: str | None) -> tuple[str, ...]:
    kind = f"pipeline tag {listed.pipeline_tag}" if listed.pipeline_tag else "no pipeline tag"
    said = [
        f"not in the catalog: found on the Hub on {facts.asked_on} ({kind}); no score is known, so it is not ranked",
        f"taken for {tuning} by its tags; its publisher's own claims were not read",
    ]
    if bases and base is None:
        said.append(f"made from {bases[0][:100]}, whose licence the catalog does not know")
    return tuple(said)


def _note(listed: int, known: int, copies: int, opened: int, sized: int) -> str:
    parts = [
        f"{listed} found on the first pages of the Hub's lists",
        f"{known} of them in the catalog",
        *(
            [f"{copies} left out as re-uploads, merges, quantised copies or adapters (--copies takes them)"]
            if copies
            else []
        ),
        f"{opened} opened, {sized} sized",
    ]
    return f"search: {', '.join(parts)}"

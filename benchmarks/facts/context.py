"""Context: against the limit that stands in config.json, and the published table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.facts.files import config_of, index_row, published, why_doubtful
from benchmarks.facts.lengths import FROM_TABLE, Lengths, why_another
from benchmarks.facts.witnesses import TABLE, UNKNOWN_CONTEXT, Case
from benchmarks.proofs.differences import NOT_EXPLAINED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.records import CatalogModel

LIMIT_KEYS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "model_max_length", "n_ctx",
    "max_target_positions",
)  # fmt: skip
TEXT_PARTS = ("text_config", "llm_config", "language_config")

CUT_SHORT = "TRIMMED"
"""What INDEX.csv says of a copy that lacks keys of the published file."""


def context_cases(model: CatalogModel) -> Iterator[Case]:
    """The model's limit beside every witness that states one."""
    limit = _file_limit(model)
    if limit is not None:
        yield length_case(model, "config.json", limit)
    table = published(model.candidate.id).get("context_tokens")
    if table:
        yield length_case(model, TABLE, int(table))


def length_case(model: CatalogModel, witness: str, tokens: int) -> Case:
    """The model's limit beside that of one witness."""
    ours, of_table = model.candidate.context_tokens, witness == TABLE
    return Case(
        model=model.candidate.id,
        fact="context",
        witness=witness,
        catalog=ours,
        witnessed=tokens,
        reason="" if ours == tokens else _why_lengths_differ(model, tokens, of_table=of_table),
        taken=of_table and FROM_TABLE in model.candidate.sources.get("context_tokens", ""),
    )


def _why_lengths_differ(model: CatalogModel, tokens: int, *, of_table: bool) -> str:
    doubt = why_doubtful(model, "context_tokens")
    if of_table and (doubt is not None or tokens == UNKNOWN_CONTEXT):
        return doubt or f"doubtful: {UNKNOWN_CONTEXT} stands for unknown in the table"
    ours = model.candidate.context_tokens
    return NOT_EXPLAINED if ours is None else why_another(_lengths(model, ours), tokens, of_table=of_table)


def _lengths(model: CatalogModel, tokens: int) -> Lengths:
    factor, original = _rope(model)
    row, table = index_row(model), published(model.candidate.id).get("context_tokens")
    return Lengths(
        hub_id=str(model.candidate.hub_id),
        catalog_tokens=tokens,
        source=model.candidate.sources.get("context_tokens", ""),
        file_tokens=_file_limit(model),
        file_of=row["hub_id"],
        incomplete=row["confidence"] == "derived" or CUT_SHORT in row["notes"],
        rope_factor=factor,
        rope_original=original,
        table_tokens=int(table) if table else None,
    )


def _text_part(model: CatalogModel) -> dict[str, Any]:
    config = config_of(model)
    return next((config[part] for part in TEXT_PARTS if isinstance(config.get(part), dict)), config)


def _file_limit(model: CatalogModel) -> int | None:
    text = _text_part(model)
    return next((text[key] for key in LIMIT_KEYS if isinstance(text.get(key), int)), None)


def _rope(model: CatalogModel) -> tuple[float | None, int | None]:
    """The factor of RoPE scaling in a file, and the positions before it."""
    text = _text_part(model)
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if not isinstance(scaling, dict) or not isinstance(scaling.get("factor"), int | float):
        return None, None
    original = scaling.get("original_max_position_embeddings")
    return float(scaling["factor"]), original if isinstance(original, int) else None

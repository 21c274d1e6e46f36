"""Parameters: against the model that transformers instantiates, the publisher's total, and the published table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.facts.files import config_of, index_row, published, why_doubtful
from benchmarks.facts.witnesses import TABLE, Case
from benchmarks.proofs.differences import NOT_EXPLAINED, Facts, explanation, noted_differences
from fmkit.model.architectures.embedder import embedder_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.records import CatalogModel

MOST_FREQUENCIES = 256
"""More numbers per layer than this are no rotary frequencies."""

TABLE_IN_INDEX = "llmfit"
"""What INDEX.csv says of a configuration that was assembled with the help of the table."""


def parameter_cases(model: CatalogModel) -> Iterator[Case]:
    """The model's parameters beside every witness that counts them."""
    row = index_row(model)
    ours, own = model.candidate.params, model.candidate.hub_id == row["hub_id"]
    config = config_of(model)
    whole = (
        model.candidate.tuning != "embedding" or embedder_config(config) == config
    )  # else counted with a head that is not loaded
    if own and whole and row["params_meta"]:
        yield count_case(model, "transformers on the meta device", int(row["params_meta"]))
    if own and row["params_published"] and ours is not None:
        yield count_case(model, "publisher's total", int(row["params_published"]))
    table = published(model.candidate.id).get("params")
    if table:
        yield count_case(model, TABLE, int(table))


def count_case(model: CatalogModel, witness: str, count: int) -> Case:
    """The model's parameters beside the count of one witness."""
    ours = model.candidate.params
    return Case(
        model=model.candidate.id,
        fact="parameters",
        witness=witness,
        catalog=ours,
        witnessed=count,
        reason="" if ours == count else why_doubtful(model, "params") or _why_counts_differ(model, count),
        taken=witness == TABLE and TABLE_IN_INDEX in index_row(model)["source"],
    )


def _why_counts_differ(model: CatalogModel, count: int) -> str:
    """Arithmetic on the model's config; that of a relative of the same shape counts too."""
    if model.spec is None:
        return NOT_EXPLAINED
    config = config_of(model)
    own = index_row(model)["hub_id"]
    publisher = own.partition("/")[0]
    relatives = [hub_id for hub_id in noted_differences() if hub_id.startswith(f"{publisher}/") and hub_id != own]
    buffers = _buffers(Facts(model.spec, config, own), count - model.spec.params)
    if buffers is not None:
        return f"{buffers}: {count - model.spec.params:+,}"
    found = NOT_EXPLAINED
    for hub_id in ("", str(model.candidate.hub_id), own, *relatives):
        try:
            found = explanation(hub_id, count, model.spec, config)
        except (KeyError, TypeError, ValueError):
            continue
        if NOT_EXPLAINED not in found and (hub_id in ("", own) or noted_differences().get(hub_id, {}).get("terms")):
            return found
    return found if NOT_EXPLAINED in found else NOT_EXPLAINED


def _buffers(facts: Facts, apart: int) -> str | None:
    """What repositories hold in every layer and the class as buffers: masks, or scales, biases and rotary frequencies."""
    layers = facts.config.get("n_layer") or facts.config.get("num_hidden_layers") or 0
    positions = facts.config.get("n_positions") or 0
    if layers and apart == layers * positions**2:
        return f"causal masks of {layers} layers, {positions:,} x {positions:,} each, buffers here"
    rest = apart - facts.scales() - facts.buffer("e_score_correction_bias")
    if layers and facts.spec.stored is not None and rest % layers == 0 and 0 <= rest // layers <= MOST_FREQUENCIES:
        return (
            f"scales of quantised blocks, biases of the routers, and {rest // layers} rotary frequencies in each layer"
        )
    return None

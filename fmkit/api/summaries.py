"""What several answers say in the same words of a model, a machine and a licence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.results.recommend import LicenceFacts
from fmkit.results.vram import MachineSummary, ModelSummary

if TYPE_CHECKING:
    from fmkit.api.resolve import ResolvedModel
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.selection.licences import BoundLicence

LICENCE_SOURCE = "the Hub's page, not read"
"""Where the licence of a model is named that the catalog does not have."""


def model_summary(resolved: ResolvedModel, spec: ModelSpec) -> ModelSummary:
    """The model that was found, and how its configuration is known."""
    return ModelSummary(
        ref=resolved.ref,
        hub_id=resolved.hub_id,
        revision=resolved.revision,
        architecture=spec.architecture,
        kind=spec.kind,
        params=spec.params,
        active_params=spec.active_params,
        active_params_without_embedding=spec.active_params_without_embedding,
        max_context_tokens=context_limit(spec, resolved),
        licence=resolved.candidate.licence if resolved.candidate is not None else resolved.hub_licence,
        licence_source=LICENCE_SOURCE if resolved.candidate is None and resolved.hub_licence is not None else None,
        gated=resolved.gated,
        config_confidence=resolved.confidence,
        config_source=resolved.source,
        notes=spec.notes,
    )


def context_limit(spec: ModelSpec, resolved: ResolvedModel) -> int | None:
    """The publisher's limit in tokens where the catalog has one, else what config.json says."""
    stated = resolved.candidate.context_tokens if resolved.candidate is not None else None
    return stated or spec.max_context_tokens


def machine_summary(machine: Machine) -> MachineSummary:
    """The machine that was asked about, and where its memory was read."""
    device = machine.device
    source = device.sources.get("memory") if device is not None else None
    return MachineSummary(
        name=machine.name,
        origin=machine.origin,
        device=device.id if device is not None else None,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=machine.free_bytes,
        source=source or machine.reserve_reason or None,
    )


def licence_facts(bound: BoundLicence) -> LicenceFacts:
    """What binds a model, its base's licence included; verified where every text was read."""
    binding = bound.binding
    return LicenceFacts(
        id=binding.id,
        licence_class=binding.licence_class,
        commercial=binding.commercial,
        conditions=bound.conditions,
        source=binding.source,
        verified=all(licence.verification != "recalled" for licence in bound.licences),
    )

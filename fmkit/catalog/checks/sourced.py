"""Facts without a source do not get in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.catalog.checks.facts import Facts


def models(facts: Facts) -> Iterator[Fault]:
    """Open models: what their family or their own entry states."""
    for family_id, family in facts.sources.families.items():
        stated: dict[str, object] = {"licence": family.licence, "training_tokens": family.training_tokens}
        yield from _unsourced(stated, family.sources, f"families/{family_id}.yaml", "$")
    for model_id, model in facts.links.open_models.items():
        entry = model.entry
        stated = {
            "licence": entry.licence,
            "released": entry.released,
            "training_tokens": entry.training_tokens,
            "further_training_tokens": entry.further_training_tokens,
            "context_tokens": entry.context_tokens,
            "native_context_tokens": entry.native_context_tokens,
            "extended_context_tokens": entry.extended_context_tokens,
            "quantised": entry.quantised or None,
        }
        file, path = model.place(model_id, "")
        yield from _unsourced(stated, {**model.family.sources, **entry.sources}, file, path.rstrip("."))


def api_models(facts: Facts) -> Iterator[Fault]:
    """Closed models; a price has a date too."""
    for provider, file, path, entry in facts.api_models():
        prices = entry.input_usd_per_1m or entry.output_usd_per_1m
        stated = {"released": entry.released, "context_tokens": entry.context_tokens, "prices": prices}
        yield from _unsourced(stated, {**facts.sources.apis[provider].sources, **entry.sources}, file, path)
        if prices is not None and entry.price_date is None:
            yield Fault(file, f"{path}.price_date", "missing: a price has a date")


def devices(facts: Facts) -> Iterator[Fault]:
    """Devices: memory, bandwidth, bus, rates and links."""
    for file, path, entry in facts.devices():
        stated = {
            "memory": entry.memory,
            "bandwidth_gb_s": entry.bandwidth_gb_s,
            "bus_bits": entry.bus_bits,
            "tflops": entry.tflops or None,
            "link_devices": entry.link_devices if entry.link_devices > 1 else None,
        }
        yield from _unsourced(stated, entry.sources, file, path)


def scores(facts: Facts) -> Iterator[Fault]:
    """Scores and losses of quality: a source of blanks is none."""
    for benchmark, rows in facts.sources.scores.items():
        for line, row in rows:
            if not row.source.strip():
                yield Fault(
                    f"scores/{benchmark}.csv",
                    f"line {line}, source",
                    "missing: a score without a source does not get in",
                )


def _unsourced(stated: Mapping[str, object], sources: dict[str, str], file: str, path: str) -> Iterator[Fault]:
    for key, value in stated.items():
        named = any(source == key or source.startswith(f"{key}.") for source, text in sources.items() if text.strip())
        if value is not None and not named:
            yield Fault(file, f"{path}.sources.{key}", "missing: a fact without a source does not get in")


RULES = (models, api_models, devices, scores)

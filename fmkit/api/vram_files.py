"""What `fmkit vram` adds where it looked at files: what lies there, one row per quantisation, and the answer where only files are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.model_sizer import ModelSizer
from fmkit.api.sizing import estimate_for
from fmkit.api.summaries import LICENCE_SOURCE
from fmkit.errors import UsageError
from fmkit.model.stored_parts import match
from fmkit.results.vram import ModelSummary, StoredFiles, StoredVariant, VramResult
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.api.resolve import FileVariant, ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.hub.files import ModelFiles
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.results.vram import Estimate, MachineSummary
    from fmkit.sizing.estimate import MemoryEstimate, Workload


class VariantSizer(ModelSizer):
    """Sizes the quantisations of one repository of GGUF files; a precision is the label of one of them, in lower case."""

    def __init__(self, variants: Sequence[FileVariant], catalog: Catalog, engine: str, workload: Workload) -> None:
        super().__init__(variants[0].spec, catalog, engine, workload)
        self._variants = {label_of(variant): variant for variant in variants}
        self._sizers = {
            label: ModelSizer(variant.spec, catalog, engine, workload) for label, variant in self._variants.items()
        }

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine) -> MemoryEstimate:
        """The memory of that quantisation at these settings."""
        found = self._sizers[precision]("stored", context_tokens, sequences, machine)
        return msgspec.structs.replace(found, precision=precision)

    def with_workload(self, workload: Workload) -> VariantSizer:
        """The same quantisations with other options."""
        return VariantSizer(tuple(self._variants.values()), self.catalog, self.engine, workload)

    def bits(self, precision: str) -> int:
        """What orders the quantisations: the size of their files."""
        return self._variants[precision].file_bytes

    def estimate(self, precision: str, workload: Workload, machine: Machine) -> Estimate:
        """Memory and speed of that quantisation."""
        spec = self._variants[precision].spec
        found = estimate_for(spec, "stored", workload, machine, self.catalog, engine=self.engine)
        return msgspec.structs.replace(found, precision=precision)


def label_of(variant: FileVariant) -> str:
    """The name of a quantisation as a precision.

    >>> from types import SimpleNamespace
    >>> label_of(SimpleNamespace(label="Q4_K_M"))
    'q4_k_m'
    """
    return variant.label.lower()


def chosen_labels(asked: Sequence[str], variants: Sequence[FileVariant]) -> tuple[str, ...]:
    """The quantisations asked for, else all of them."""
    known = [label_of(variant) for variant in variants]
    for name in asked:
        if name.lower() not in known:
            raise UsageError.unknown("quantisation", name, known, where="--precision")
    return tuple(dict.fromkeys(name.lower() for name in asked)) or tuple(known)


def stored_files(files: ModelFiles, spec: ModelSpec | None) -> StoredFiles:
    """What lies on disk or on the Hub, in figures."""
    only = files.variants[0].weights if len(files.variants) == 1 else None
    weights = files.weights or only
    tensors = weights.tensors if weights is not None else ()
    comparable = spec is not None and files.layout == "transformers"
    not_loaded = match(spec, tensors).not_loaded_bytes if comparable and spec is not None and tensors else 0
    return StoredFiles(
        layout=files.layout,
        format=weights.format if weights is not None else None,
        files=len(weights.files) if weights is not None else 0,
        file_bytes=weights.file_bytes if weights is not None else sum(one.bytes for one in files.components) or None,
        tensors=len(tensors),
        tensor_bytes=sum(tensor.bytes for tensor in tensors) or None,
        not_loaded_bytes=not_loaded,
        bytes_by_dtype=weights.bytes_by_dtype() if weights is not None else {},
        components={one.name: one.bytes for one in files.components},
        variants=tuple(
            StoredVariant(
                label=one.label,
                file=one.selected.files[0].name if one.selected.files else "",
                files=len(one.selected.files),
                bytes=one.selected.bytes,
                missing=one.selected.missing,
            )
            for one in files.variants
        ),
    )


def files_answer(resolved: ResolvedModel, catalog: Catalog, machine: MachineSummary) -> VramResult:
    """The answer where nothing but the weights is known: what they take, and that the cache can't be sized."""
    files = resolved.files
    assert files is not None
    stored = stored_files(files, None)
    total = stored.tensor_bytes or stored.file_bytes or 0
    if files.layout == "diffusers":
        parts = ", ".join(f"{name} {format_bytes(count)}" for name, count in stored.components.items())
        verdict = (
            f"{resolved.id} is a diffusers pipeline: its models take {format_bytes(total)} as stored ({parts}); activations are not sized by "
            "this version."
        )
    else:
        verdict = f"{resolved.id} holds {format_bytes(total)} of weights; without a config.json cache and activations are unknown."
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=ModelSummary(
            ref=resolved.ref,
            hub_id=resolved.hub_id,
            revision=resolved.revision,
            architecture="unknown",
            kind=files.layout,
            params=None,
            active_params=None,
            max_context_tokens=None,
            licence=resolved.hub_licence,
            licence_source=LICENCE_SOURCE if resolved.hub_licence is not None else None,
            gated=resolved.gated,
            config_source=resolved.source,
        ),
        machine=machine,
        verdict=verdict,
        estimates=(),
        stored=stored,
        warnings=files.notes,
    )

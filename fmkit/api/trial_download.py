"""The real weights of `fmkit try` on this disk: those given, those downloaded before, or a download that the user agrees to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.trial_words import download_time
from fmkit.errors import NetworkNeededError, UsageError
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.api.resolve import ResolvedModel
    from fmkit.api.trial_options import TrialOptions
    from fmkit.hub.download import Download


def weights_folder(resolved: ResolvedModel, options: TrialOptions) -> Path:
    """The folder of safetensors weights."""
    from fmkit.hub.download import cached_snapshot, plan_download  # noqa: PLC0415  the network client only when needed
    from fmkit.trial.folder import require_safetensors  # noqa: PLC0415

    if resolved.path is not None:
        require_safetensors(resolved.path)
        return resolved.path
    assert resolved.hub_id is not None
    cached = cached_snapshot(resolved.hub_id, resolved.revision)
    if cached is not None:
        return cached
    random = f"fmkit try {resolved.ref} --random-weights"
    _require_network(resolved, options, random)
    return _agreed(plan_download(resolved.hub_id, resolved.revision), resolved, options, f", or {random}")


def gguf_file(resolved: ResolvedModel, options: TrialOptions) -> Path:
    """The GGUF file, the first of several parts."""
    from fmkit.hub.cache import cached_file  # noqa: PLC0415
    from fmkit.hub.download import plan_download  # noqa: PLC0415

    if resolved.path is not None:
        return resolved.path
    assert resolved.hub_id is not None
    assert resolved.files is not None
    (variant,) = resolved.files.variants
    wanted = {file.name: file.bytes for file in variant.selected.files}
    found = [cached_file(resolved.hub_id, resolved.revision, name) for name in wanted]
    there = [one[0] for one in found if one is not None]
    if [path.stat().st_size for path in there] == list(wanted.values()):
        return there[0]
    _require_network(resolved, options, "leave out --offline (and HF_HUB_OFFLINE)")
    plan = plan_download(resolved.hub_id, resolved.revision, tuple(wanted))
    return _agreed(plan, resolved, options, "") / next(iter(wanted))


def _require_network(resolved: ResolvedModel, options: TrialOptions, next_command: str) -> None:
    from fmkit.hub.connection import switched_off  # noqa: PLC0415

    if options.offline or switched_off():
        raise NetworkNeededError(
            f"the weights of {resolved.hub_id} are not on this disk, and the network is off",
            where="--offline" if options.offline else "HF_HUB_OFFLINE",
            next_command=next_command,
        )


def _agreed(plan: Download, resolved: ResolvedModel, options: TrialOptions, or_else: str) -> Path:
    """Download what is planned, if the user agrees; `or_else` ends the command that is proposed where not."""
    from fmkit.hub import download  # noqa: PLC0415

    say = options.progress or (lambda _: None)
    useless = download.remove_useless(plan)
    for told in (useless.told() if useless is not None else None, plan.told()):
        if told is not None:
            say(told)
    download.check_disk(plan)
    count = len(plan.files) - len(plan.here)
    what = (
        f"{count} file{'' if count == 1 else 's'}, {format_bytes(plan.missing_bytes)}, of {plan.hub_id} at {plan.commit[:12]}, "
        f"{download_time(plan.missing_bytes)}"
    )
    if not options.yes and (options.confirm is None or not options.confirm(f"Download {what}?")):
        raise UsageError(
            f"the weights are not on this disk, and nobody agreed to download them ({what})",
            where="--yes",
            next_command=f"fmkit try {resolved.ref} --yes{or_else}",
        )
    say(f"downloading {what} ...")
    return download.fetch(plan, say=options.progress)

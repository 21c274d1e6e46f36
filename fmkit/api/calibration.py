"""The trials kept on this machine, as corrections of its next estimates: memory beside the tensors, and speed.

Only trials of this machine count, in the engine, library versions and device that were tried last, at most MOST_TRIALS of them. Estimates
for named devices and bare sizes are never corrected, nor those for a machine whose `uses_trials` is off (`--no-trials`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.kept_rates import kept_here
from fmkit.errors import FmkitError, UnreadTrialsWarning
from fmkit.sizing.calibration import calibrated
from fmkit.sizing.engines.llama_cpp_backends import backend_on
from fmkit.sizing.runtime import vendor_of
from fmkit.speed.calibration import RateTrial, corrected
from fmkit.trial.paths import record_file

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.catalog.load import Catalog
    from fmkit.catalog.schema import EngineFile
    from fmkit.machine import Machine
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.estimate import SpeedEstimate

MOST_TRIALS = 100


class Here(msgspec.Struct, frozen=True):
    """One engine on this machine: its facts with the runtime that trials measured, and rates by layout, cache type and basis."""

    engine: EngineFile
    rates: dict[tuple[str, str, str], tuple[RateTrial, ...]] = {}
    rates_left_out: str = ""


def engine_here(catalog: Catalog, engine: str, machine: Machine | None) -> EngineFile:
    """The engine's facts; on this computer with the runtime that its trials measured."""
    return _here(engine, machine, catalog).engine


def speed_here(
    speed: SpeedEstimate | None, memory: MemoryEstimate, machine: Machine | None, catalog: Catalog
) -> SpeedEstimate | None:
    """The speed as the trials of this computer correct it, with the same weights, cache and basis.

    A trial does not say what its llama.cpp was built with: it counts for the default backend alone.
    """
    if speed is None or memory.host_is_used or memory.backend not in (None, backend_on(machine, None)):
        return speed
    here = _here(memory.engine, machine, catalog)
    trials = here.rates.get((memory.layout, memory.cache_dtype, speed.basis), ())
    return corrected(speed, trials, here.rates_left_out) if trials else speed


_READ: dict[tuple[str, str], tuple[tuple[Path, int, int], EngineFile, Here]] = {}
"""What the record said, by engine and machine, with the file's state and the facts it was read for: a search asks hundreds of times."""


def _here(engine: str, machine: Machine | None, catalog: Catalog) -> Here:
    facts = catalog.engines[engine]
    if machine is None or machine.origin != "detected" or not machine.uses_trials:
        return Here(facts)
    try:
        path = record_file()
        stat = path.stat()
    except (OSError, RuntimeError):  # nothing kept, or no home
        return Here(facts)
    from fmkit.hardware.kept import machine_key  # noqa: PLC0415  only where something was kept

    place, state = (engine, machine_key(machine)), (path, stat.st_mtime_ns, stat.st_size)
    known = _READ.get(place)
    if known is not None and known[0] == state and known[1] is facts:
        return known[2]
    found = _read(facts, machine, place[1], catalog)
    _READ[place] = state, facts, found
    return found


def _read(facts: EngineFile, machine: Machine, key: str, catalog: Catalog) -> Here:
    from fmkit.api.trial_evidence import listed, memory_trials, of_this_setting, rate_trials  # noqa: PLC0415  as above
    from fmkit.trial.store import TrialStore  # noqa: PLC0415  opens SQLite

    try:
        trials = TrialStore().newest(facts.id, MOST_TRIALS)
    except FmkitError as error:  # a damaged or locked record costs accuracy, no answer
        warnings.warn(UnreadTrialsWarning(error.message, error.where), stacklevel=2)
        return Here(facts)
    mine, others = of_this_setting([one for one in trials if one.server is None], key)
    if not mine:
        return Here(facts)
    rates = kept_here(machine)
    memory, no_memory = memory_trials(mine)
    since = "" if rates is None else rates.timed_on(facts.id, cpu=vendor_of(machine) == "cpu")
    timed, no_rate = rate_trials(mine, catalog.date, since)
    engine = calibrated(facts, vendor_of(machine), memory, when=mine[0].date[:10], left_out=listed(others + no_memory))
    return Here(engine, timed, listed(others + no_rate))

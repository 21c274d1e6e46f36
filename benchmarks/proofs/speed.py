"""How fast: a person's wait for one answer, and totals per second when a whole catalog is sized in one process."""

from __future__ import annotations

import resource
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.proofs.proof import Aim, Proof, Table
from benchmarks.startup import milliseconds
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import PreparedModel, estimate
from fmkit.sizing.totals import totals

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec

COMMAND = ["vram", "llama-3.1-8b", "--json"]
RUNS = 15
WAIT_AIM_MS, TOTALS_AIM, LINES_AIM = 150, 100_000, 20_000
LENGTHS = (512, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
SEQUENCES = (1, 2, 4, 8)
WORKLOADS = tuple(Workload(context_tokens=tokens, sequences=count) for tokens in LENGTHS for count in SEQUENCES)
LINES_SHARE = 4
"""With lines and reasons, every fourth model is sized: the rate is the same, and the wait shorter."""
ABOUT = (
    "The command is started as a person starts it, from the start of the process to its end, median of 15. Totals: weights, cache, steady "
    "state and peak of every model of the catalog at every precision of the engine, 8 lengths from 512 to 131,072 tokens and 1, 2, 4 and "
    "8 sequences, in one process, per second of processor time, a cold start of every memory of earlier answers included."
)


def prove() -> Proof:
    """Measure both."""
    milliseconds(COMMAND)  # the first run compiles catalog and bytecode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    waits = sorted(milliseconds(COMMAND) for _ in range(RUNS))
    then = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy_ms = 1000 * (then.ru_utime + then.ru_stime - used.ru_utime - used.ru_stime) / RUNS
    wait = statistics.median(waits)
    catalog = load_catalog()
    specs = [spec for name in catalog.model_ids() if (spec := catalog.model(name).spec) is not None]
    cases = tuple(rates(engine, specs, catalog) for engine in catalog.engines)
    aims = (
        Aim(f"fmkit {' '.join(COMMAND)}, median of {RUNS}", f"{WAIT_AIM_MS} ms", f"{wait:.0f} ms", wait <= WAIT_AIM_MS),
        Aim("of this the processor was busy", "", f"{busy_ms:.0f} ms"),
        *(_rate("totals per second", case, "totals_per_s", TOTALS_AIM) for case in cases),
        *(_rate("estimates with lines and reasons per second", case, "estimates_per_s", LINES_AIM) for case in cases),
    )
    table = Table(
        "Per second, one process",
        ("engine", "models", "precisions", "totals", "per second", "with lines per second"),
        tuple((case["engine"], str(case["models"]), str(case["precisions"]), f"{case['totals']:,}", f"{case['totals_per_s']:,}",
               f"{case['estimates_per_s']:,}") for case in cases),
    )  # fmt: skip
    return Proof(
        name="speed", about=ABOUT, aims=aims, tables=(table,), cases=({"wait_ms": waits, "busy_ms": busy_ms}, *cases)
    )


def _rate(noun: str, case: dict[str, Any], name: str, aim: int) -> Aim:
    return Aim(f"{noun}, {case['engine']}", f"{aim:,}", f"{case[name]:,}", case[name] >= aim)


def rates(engine: str, specs: list[ModelSpec], catalog: Catalog) -> dict[str, Any]:
    """Totals and estimates per second of one engine; models that it has no rules for are left out."""
    names = dict.fromkeys(catalog.engines[engine].layouts.values())
    layouts = [catalog.layouts[name] for name in names if catalog.layouts[name].file_type != "stored"]
    known = [spec for spec in specs if _is_known(engine, spec, layouts[0], catalog)]
    started = time.process_time()
    count = sum(1 for spec in known for _ in totals(spec, catalog.engines[engine], layouts, WORKLOADS))
    took_s = time.process_time() - started
    some = known[::LINES_SHARE]
    started = time.process_time()
    for spec in some:
        model = PreparedModel(spec, engine)
        for layout in layouts:
            prepared = model.at(layout)
            for workload in WORKLOADS:
                prepared.estimate(catalog.engines[engine], "any", workload)
    lines_s = time.process_time() - started
    return {
        "engine": engine,
        "models": len(known),
        "precisions": len(layouts),
        "totals": count,
        "totals_per_s": round(count / took_s),
        "estimates_per_s": round(len(some) * len(layouts) * len(WORKLOADS) / lines_s),
    }


def _is_known(engine: str, spec: ModelSpec, layout: Layout, catalog: Catalog) -> bool:
    try:
        estimate(spec, catalog.engines[engine], layout, "any", WORKLOADS[0])
    except FmkitError:
        return False
    return True

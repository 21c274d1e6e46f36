"""The published measurements that fmkit is held against: the tables of `fmkit accuracy`, beside what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.proofs.proof import Aim, Proof, Table, quantile
from fmkit.api.accuracy.answer import accuracy
from fmkit.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.results.accuracy import AccuracyGroup, AccuracyResult

ENGINES = ("transformers", "vllm", "llama.cpp")
MEMORY = ("weights", "cache", "activations", "total", "oom")
SCORED_SHARE = 0.8
RECALL_OOM, RECALL_OK = 0.85, 0.97
LIMITS: dict[tuple[str, str], tuple[float, float | None]] = {
    **{(engine, quantity): (0.01, None) for engine in ENGINES for quantity in ("weights", "cache")},
    ("llama.cpp", "activations"): (0.05, None),
    ("transformers", "total"): (0.05, 0.12),
}
"""Median and 90th percentile of the error that were aimed at."""
GAP_GIB = 0.7
"""The most that the need of vLLM may be off in all."""
NOT_TRUSTED = "trust C"
ABOUT = (
    "Every memory row of the catalog's measurements of trust A and B: what fmkit says of that model in that engine, beside the figure "
    "that somebody measured. Rows that can't be scored are listed with the reason. The rows one by one: "
    "`fmkit accuracy --json`."
)


def prove() -> Proof:
    """Score all rows."""
    result = _of_memory(accuracy())
    return Proof(name="measurements", about=ABOUT, aims=tuple(_aims(result)), tables=tuple(_tables(result)))


def _of_memory(result: AccuracyResult) -> AccuracyResult:
    """What is about memory in the engines that fmkit has rules for."""
    return msgspec.structs.replace(
        result,
        engines=tuple(group for group in result.engines if group.engine in ENGINES and group.quantity in MEMORY),
        rows=tuple(row for row in result.rows if row.engine in ENGINES and row.quantity in MEMORY),
        left_out=tuple(row for row in result.left_out if row.engine in ENGINES and row.quantity in MEMORY),
    )


def _aims(result: AccuracyResult) -> Iterator[Aim]:
    for engine in ENGINES:
        groups = [group for group in result.engines if group.engine == engine]
        scored = {row.measurement_id for row in result.rows if row.engine == engine}
        missed = {row.measurement_id for row in result.left_out
                  if row.engine == engine and not row.reason.startswith(NOT_TRUSTED)} - scored  # fmt: skip
        share = len(scored) / max(1, len(scored) + len(missed))
        yield Aim(
            f"{engine}: rows scored",
            f"{SCORED_SHARE:.0%}",
            f"{len(scored)} of {len(scored) + len(missed)}",
            share >= SCORED_SHARE,
        )
        yield from (_group_aim(engine, group) for group in groups if group.median_error is not None)
    gaps = sorted(_gaps(result))
    if gaps:
        size, release = gaps[-1]
        within = sum(gap <= GAP_GIB for gap, _ in gaps)
        yield Aim("vllm: total beyond the profiled activation, 90th percentile of the gap", f"{GAP_GIB} GiB",
                  f"{quantile([gap for gap, _ in gaps], 0.9):.2f} GiB; {within} of {len(gaps)} within, worst {size:.2f} ({release})",
                  quantile([gap for gap, _ in gaps], 0.9) <= GAP_GIB)  # fmt: skip
    for rule in result.out_of_memory:
        if rule.engine is None and rule.recall_oom is not None and rule.recall_ok is not None:
            ours = rule.rule == "fmkit"
            met = rule.recall_oom >= RECALL_OOM and rule.recall_ok >= RECALL_OK if ours else None
            yield Aim(f"out of memory foreseen, fitting foreseen: {rule.rule}", f"{RECALL_OOM:.0%}, {RECALL_OK:.0%}" if ours else "",
                      f"{rule.recall_oom:.0%} of {rule.oom_rows}, {rule.recall_ok:.0%} of {rule.ok_rows}", met)  # fmt: skip


def _gaps(result: AccuracyResult) -> Iterator[tuple[float, str]]:
    """GiB by which vLLM's need without its profiled activation is off, and the release, for each log that states both."""
    rows = {(row.measurement_id, row.quantity): row for row in result.rows if row.engine == "vllm"}
    for (measurement, quantity), whole in rows.items():
        profiled = rows.get((measurement, "activations"))
        if quantity == "total" and profiled is not None:
            predicted, found = whole.predicted - profiled.predicted, whole.measured - profiled.measured
            yield abs(predicted - found) / GIB, whole.engine_version


def _group_aim(engine: str, group: AccuracyGroup) -> Aim:
    """Median and 90th percentile of one quantity, judged where a limit was set."""
    median, high = LIMITS.get((engine, group.quantity), (None, None))
    found = f"{group.median_error:.2%}, {group.p90_error:.2%} (n {group.rows})"
    if median is None:
        return Aim(f"{engine}: {group.quantity}, median and 90th percentile of the error", "", found)
    met = (group.median_error or 0) <= median and (high is None or (group.p90_error or 0) <= high)
    aim = f"{median:.0%}" + (f", {high:.0%}" if high is not None else "")
    return Aim(f"{engine}: {group.quantity}, median and 90th percentile of the error", aim, found, met)


def _tables(result: AccuracyResult) -> Iterator[Table]:
    yield Table(
        "Error by engine and part",
        ("engine", "part", "rows", "left out", "median", "90th", "bias", "in the bounds"),
        tuple((str(group.engine), group.quantity, str(group.rows), str(group.left_out), *(_percent(value) for value in
               (group.median_error, group.p90_error, group.bias, group.interval_coverage))) for group in result.engines),
    )  # fmt: skip
    reasons: dict[tuple[str, str], int] = {}
    for row in result.left_out:
        reasons[row.engine, row.reason] = reasons.get((row.engine, row.reason), 0) + 1
    yield Table(
        "Left out", ("engine", "reason", "figures"), tuple((*key, str(count)) for key, count in sorted(reasons.items()))
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"

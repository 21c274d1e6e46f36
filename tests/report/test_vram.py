"""The text of `fmkit vram`: right at every width, and never more than the result says."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from fmkit.report.vram import print_vram
from fmkit.report.vram_peaks import csv_table, markdown_text
from fmkit.results.vram import ApiFacts, Estimate, MachineSummary, ModelSummary, VramResult
from fmkit.sizing.estimate import Fit, HostNeed, MemoryLine, PrecisionFit
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.units import GIB


def line(part: str, count: int) -> MemoryLine:
    return MemoryLine(
        part=part,
        bytes=count,
        phase="steady",
        basis="formula",
        reason=f"why {part}",
        source=f"where {part}",
        formula="2 x 3",
    )


def estimate(
    precision: str, context_tokens: int, peak_gib: int, *, fits: bool | None = True, valid: bool = True
) -> Estimate:
    peak = peak_gib * GIB
    rate = Range(low=40, median=50, high=60)
    return Estimate(
        engine="transformers", engine_version="5.23.0", precision=precision, layout=f"layout-{precision}",
        cache_dtype="bfloat16", context_tokens=context_tokens, encoder_tokens=0, sequences=1, tensor_parallel=1,
        pipeline_parallel=1, valid=valid, weights_bytes=peak // 2, cache_bytes=peak // 4, steady_bytes=peak - 1,
        peak_bytes=peak, low_bytes=peak - GIB, high_bytes=peak + GIB, reserved_bytes=0, per_device_bytes=peak,
        lines=(line("weights: everything", peak // 2), line("cache", peak // 4)), fits=fits, budget_bytes=23 * GIB,
        speed=SpeedEstimate(
            ttft_s=Range(low=0.2, median=0.3, high=0.4), prefill_tokens_per_s=rate, decode_tokens_per_s=rate,
            throughput_tokens_per_s=rate, basis="class", bound="bandwidth", reason="measured on others of its class",
        ),
    )  # fmt: skip


MODEL = ModelSummary(
    ref="toy", hub_id="org/toy", revision=None, architecture="ToyForCausalLM", kind="decoder", params=8_000_000_000,
    active_params=2_000_000_000, max_context_tokens=131072, licence="mit",
)  # fmt: skip
MACHINE = MachineSummary(
    name="A card", origin="catalog", device="a-card", count=1, memory_bytes=24 * GIB, usable_bytes=23 * GIB, free_bytes=None,
    source=None,
)  # fmt: skip
FIT = Fit(
    budget_bytes=23 * GIB, best_precision="int4", max_context_tokens=61_000, max_sequences=3, limited_by="memory",
    smallest_device="a-card", short_bytes=0, cut=None,
    precisions=(
        PrecisionFit(
            precision="fp16", fits=False, max_context_tokens=None, max_sequences=None, limited_by="memory",
            short_bytes=3 * GIB, smallest_device=None,
        ),
        PrecisionFit(
            precision="int4", fits=True, max_context_tokens=61_000, max_sequences=3, limited_by="memory", short_bytes=0,
            smallest_device="a-card",
        ),
    ),
)  # fmt: skip
RESULT = VramResult(
    fmkit="0.1.0", catalog="2026-11-25", model=MODEL, machine=MACHINE, verdict="toy fits a card at INT4.",
    estimates=(
        estimate("fp16", 4096, 26, fits=False), estimate("int4", 4096, 8), estimate("fp16", 1 << 20, 90, valid=False),
        estimate("int4", 1 << 20, 22, fits=None),
    ),
    fit=FIT, warnings=("a [bold]warning[/bold]",), next=("fmkit try toy",),
)  # fmt: skip


def text(result: VramResult, *, width: int = 100, detail: bool = False) -> str:
    buffer = StringIO()
    print_vram(result, Console(file=buffer, width=width, color_system=None, highlight=False), detail=detail)
    return buffer.getvalue()


def test_the_verdict_comes_first() -> None:
    assert text(RESULT).splitlines()[0].strip() == RESULT.verdict


def test_rows_are_contexts_and_columns_precisions() -> None:
    lines = [" ".join(found.split()) for found in text(RESULT).splitlines()]
    assert "context FP16 INT4" in lines
    assert "4k 26.00 GiB no 8.00 GiB fits" in lines
    assert "1M 90.00 GiB past limit 22.00 GiB" in lines


def test_several_sequences_are_named_in_the_row() -> None:
    two = msgspec.structs.replace(RESULT.estimates[1], sequences=2)
    lines = text(msgspec.structs.replace(RESULT, estimates=(RESULT.estimates[1], two)))
    assert "1 x 4k" in lines
    assert "2 x 4k" in lines


def test_parts_of_the_first_estimate_or_of_all_with_detail() -> None:
    assert text(RESULT).count("Where it goes") == 1
    detailed = text(RESULT, detail=True)
    assert detailed.count("Where it goes") == 4
    assert "why cache" in detailed
    assert "source: where cache" in detailed
    assert "2 x 3" in detailed


def speeds(result: VramResult, *, width: int = 100, detail: bool = False) -> list[str]:
    """The lines of the section on speed, their spaces made one."""
    lines = [" ".join(found.split()) for found in text(result, width=width, detail=detail).splitlines()]
    start = next(number for number, found in enumerate(lines) if found.startswith("Speed"))
    return lines[start : lines.index("", start)]


def with_speed(one: Estimate, **changes: object) -> Estimate:
    assert one.speed is not None
    return msgspec.structs.replace(one, speed=msgspec.structs.replace(one.speed, **changes))


def test_speed_is_a_range_and_only_for_what_fits() -> None:
    shown = speeds(RESULT)
    assert shown[1] == "context precision tokens/s first token after"
    assert shown[2] == "4k INT4 50 (40 to 60) 300 ms (200 ms to 400 ms)"
    assert not any("FP16" in found for found in shown)


def test_speed_is_told_of_every_workload_and_of_its_own_figures() -> None:
    """A longer context is slower, and the first row alone would hide it."""
    slower = Range(low=4, median=5, high=6)
    far = with_speed(RESULT.estimates[3], decode_tokens_per_s=slower)
    shown = speeds(msgspec.structs.replace(RESULT, estimates=(*RESULT.estimates[:3], far)))
    assert shown[2:4] == [
        "4k INT4 50 (40 to 60) 300 ms (200 ms to 400 ms)",
        "1M INT4 5 (4 to 6) 300 ms (200 ms to 400 ms)",
    ]


def test_what_each_sequence_gets_and_what_all_get_stand_apart() -> None:
    each, together = Range(low=20, median=25, high=30), Range(low=160, median=200, high=240)
    eight = with_speed(
        msgspec.structs.replace(RESULT.estimates[1], sequences=8),
        decode_tokens_per_s=each,
        throughput_tokens_per_s=together,
    )
    shown = speeds(msgspec.structs.replace(RESULT, estimates=(RESULT.estimates[1], eight)))
    assert shown[1] == "context precision tokens/s each tokens/s in all first token after"
    assert shown[3] == "8 x 4k INT4 25 (20 to 30) 200 (160 to 240) 300 ms (200 ms to 400 ms)"


def test_a_model_that_only_reads_has_a_pass_texts_and_tokens_read() -> None:
    reads = {
        "decode_tokens_per_s": None, "throughput_tokens_per_s": None, "texts_per_s": Range(low=7, median=13, high=21),
    }  # fmt: skip
    shown = speeds(msgspec.structs.replace(RESULT, estimates=(with_speed(RESULT.estimates[1], **reads),)))
    assert shown[0] == "Speed, an estimate: median (low to high)"
    assert shown[1] == "input precision one pass takes texts/s tokens/s read"
    assert shown[2] == "4k INT4 300 ms (200 ms to 400 ms) 13 (7 to 21) 50 (40 to 60)"


def test_no_figure_is_cut_where_the_table_finds_no_room() -> None:
    shown = speeds(RESULT, width=44)
    assert " ".join(shown).startswith(
        "Speed after a prompt that fills the context, an estimate: median (low to high) "
        "INT4 at 4k: tokens/s 50 (40 to 60), first token after 300 ms (200 ms to 400 ms)"
    )


def test_precisions_on_another_basis_say_what_it_is() -> None:
    named = [msgspec.structs.replace(RESULT.estimates[1], precision=name) for name in ("fp16", "int8", "int4")]
    fp16, int8, int4 = named
    guessed = with_speed(int8, basis="extrapolated", reason="from other kernels")
    shown = speeds(msgspec.structs.replace(RESULT, estimates=(fp16, guessed, int4)), width=200)
    assert shown[-2:] == [
        "FP16 at 4k: measured on others of its class; INT4 on the same basis",
        "INT8 at 4k: from other kernels",
    ]


def test_rows_without_end_are_left_to_detail() -> None:
    many = [msgspec.structs.replace(RESULT.estimates[1], context_tokens=1024 * n) for n in range(1, 21)]
    result = msgspec.structs.replace(RESULT, estimates=tuple(many))
    assert "and 8 more: --detail" in speeds(result)
    detailed = speeds(result, detail=True)
    assert sum("INT4 50 (40 to 60)" in found for found in detailed) == 20


def test_speeds_are_in_the_csv_each_with_its_range_and_unit() -> None:
    header, first, *_ = (found.split(",") for found in csv_table(RESULT).splitlines())
    row = dict(zip(header, first, strict=True))
    assert [row[f"ttft_s_{end}"] for end in ("low", "median", "high")] == ["0.2", "0.3", "0.4"]
    assert row["decode_tokens_per_s_median"] == "50"
    assert row["real_time_factor_low"] == ""
    assert row["speed_basis"] == "class"
    silent = msgspec.structs.replace(RESULT.estimates[0], speed=None)
    lines = csv_table(msgspec.structs.replace(RESULT, estimates=(silent,))).splitlines()
    assert len(lines[1].split(",")) == len(header)


def test_the_inverse_says_what_is_short_and_what_stops_it() -> None:
    shown = " ".join(text(RESULT).split())
    assert "FP16 3.00 GiB short - - none" in shown
    assert "INT4 yes 61,000 3 a-card" in shown
    assert "best: INT4; a longer context is stopped by memory" in shown


def test_what_the_engine_keeps_to_stands_beside_what_is_usable() -> None:
    kept = msgspec.structs.replace(RESULT.estimates[0], budget_bytes=12 * GIB, budget_reason="share 0.5 of 24.00 GiB")
    shown = " ".join(text(msgspec.structs.replace(RESULT, estimates=(kept,)), width=200).split())
    assert "23.00 GiB usable of 24.00 GiB; transformers uses 12.00 GiB (share 0.5 of 24.00 GiB)" in shown
    assert "transformers uses" not in text(RESULT, width=200)


def test_main_memory_that_is_not_offered_has_a_reason() -> None:
    host = HostNeed(
        bytes=GIB, disk_bytes=0, lines=(), budget_bytes=60 * GIB, budget_reason="64.00 GiB less 4.00 GiB: kept"
    )
    beside = msgspec.structs.replace(RESULT.estimates[0], host=host)
    shown = " ".join(text(msgspec.structs.replace(RESULT, estimates=(beside,)), width=200).split())
    assert "1.00 GiB of 60.00 GiB of main memory main memory: 64.00 GiB less 4.00 GiB: kept" in shown


def test_numbers_of_devices_and_layers_name_their_precision() -> None:
    counts = zip(FIT.precisions, (7, 2), strict=True)
    each = tuple(msgspec.structs.replace(found, fewest_devices=n, max_gpu_layers=10 * n) for found, n in counts)
    several = msgspec.structs.replace(RESULT, fit=msgspec.structs.replace(FIT, precisions=each))
    shown = [" ".join(found.split()) for found in text(several).splitlines()]
    assert "FP16: 7 devices of this kind hold it" in shown
    assert "INT4: 2 devices of this kind hold it" in shown
    assert "INT4: at most gpu_layers=20 fit on the device" in shown


def test_what_is_refused_is_short_of_nothing() -> None:
    refused = msgspec.structs.replace(FIT.precisions[0], short_bytes=0)
    shown = text(msgspec.structs.replace(RESULT, fit=msgspec.structs.replace(FIT, precisions=(refused,))))
    assert "FP16 no - -" in " ".join(shown.split())


def test_precisions_that_an_engine_does_not_load_are_named_with_the_reason() -> None:
    refused = [
        msgspec.structs.replace(estimate(name, 4096, 8), fits=False, refused="no kernel") for name in ("int8", "int4")
    ]
    result = msgspec.structs.replace(RESULT, estimates=(estimate("fp16", 4096, 8), *refused))
    assert "note: INT8, INT4: no kernel" in text(result)
    assert "note: INT8" not in text(msgspec.structs.replace(result, verdict="toy does not load: no kernel."))


def test_why_a_precision_has_no_speed_is_said_once_wherever_it_stands() -> None:
    why = "no speed at INT4: toy has no kernels"
    without = [
        msgspec.structs.replace(estimate("int4", tokens, 2), speed=None, warnings=(why,)) for tokens in (4096, 32768)
    ]
    beside = msgspec.structs.replace(RESULT, estimates=(estimate("fp16", 4096, 8), *without))
    assert text(beside).count(why) == 1
    assert text(msgspec.structs.replace(RESULT, estimates=tuple(without))).count(why) == 1


def test_what_is_impossible_neither_fits_nor_has_a_speed() -> None:
    impossible = estimate("fp16", 1 << 20, 2, fits=True, valid=False)
    shown = text(msgspec.structs.replace(RESULT, estimates=(impossible,), fit=None))
    assert "2.00 GiB past limit" in shown
    assert "GiB fits" not in shown
    assert "Speed" not in shown


def test_markup_in_a_warning_is_text() -> None:
    assert "note: a [bold]warning[/bold]" in text(RESULT)


@pytest.mark.parametrize("width", [40, 60, 100, 200])
@pytest.mark.parametrize("detail", [False, True])
def test_no_line_is_wider_than_the_console(width: int, detail: bool) -> None:
    assert max(len(found.rstrip()) for found in text(RESULT, width=width, detail=detail).splitlines()) <= width


def test_unknown_is_said_for_an_api_model() -> None:
    api = ApiFacts(
        provider="Someone", input_usd_per_1m=2.5, output_usd_per_1m=None, cached_input_usd_per_1m=None, context_tokens=1000,
        max_output_tokens=None, status="current", source="a page", price_date="2026-11-01",
    )  # fmt: skip
    shown = " ".join(text(msgspec.structs.replace(RESULT, estimates=(), fit=None, api=api, machine=None)).split())
    assert "input, per 1M tokens 2.5 USD" in shown
    assert "output, per 1M tokens unknown" in shown
    assert "price of 2026-11-01" in shown
    assert "source of the price a page" in shown


def test_csv_has_a_line_per_estimate_and_markdown_a_table() -> None:
    lines = csv_table(RESULT).splitlines()
    assert len(lines) == 5
    assert f",{23 * GIB},,0.2," in lines[4]  # fits is unknown there
    assert "| 4k | 26.00 GiB no | 8.00 GiB fits |" in markdown_text(RESULT)

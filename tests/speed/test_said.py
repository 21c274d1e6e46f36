"""What `vram` says of a speed: what it rests on, what a device can't do, and shares of rates that are possible."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api.layouts import layout_for
from fmkit.api.vram import vram
from fmkit.catalog.load import Catalog
from fmkit.machine import catalog_machine
from fmkit.report.common import rate_with_range
from fmkit.report.vram_peaks import markdown_text
from fmkit.results.vram import Estimate
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.estimate import FigureBasis, SpeedEstimate
from fmkit.speed.operations import decode_pass
from fmkit.speed.parts import nominal
from fmkit.speed.rates import MachineRates
from fmkit.speed.roofline import estimate
from fmkit.speed.setting import setting_of
from fmkit.units import format_rate

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def sized(model: str, gpu: str, engine: str, precision: str = "fp16", **options: Any) -> Estimate:
    asked: dict[str, Any] = {"context": "4k", **options}
    return vram(model, gpu=gpu, engine=engine, precision=precision, **asked).estimates[0]


def speed(model: str, gpu: str, engine: str, **options: Any) -> SpeedEstimate:
    found = sized(model, gpu, engine, **options).speed
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("gpu", "memory", "why"),
    [("cpu-desktop-ddr5-dual", "64GiB", "no engine multiplies NVFP4 weights on a CPU"), ("max-1550", None, "NVFP4 weights run on NVIDIA cards")],
)  # fmt: skip
def test_a_precision_that_no_engine_runs_there_does_not_fit(gpu: str, memory: str | None, why: str) -> None:
    found = vram("llama-3.1-8b", gpu=gpu, memory=memory, engine="vllm", precision="nvfp4", context="4k")
    only = found.estimates[0]
    assert (only.fits, only.speed) == (False, None)
    assert why in (only.refused or "")
    assert "does not load on" in found.verdict
    assert why in found.verdict
    assert found.next[0].startswith("fmkit vram llama-3.1-8b")
    assert "--precision fp16" in found.next[0]


def test_beside_one_that_runs_it_is_said_of_the_other() -> None:
    found = vram(
        "llama-3.1-8b",
        gpu="cpu-desktop-ddr5-dual",
        memory="64GiB",
        engine="vllm",
        precision=["fp16", "fp8"],
        context="4k",
    )
    assert [one.fits for one in found.estimates] == [True, False]
    assert "fits desktop CPU" in found.verdict


@pytest.mark.parametrize(
    ("model", "gpu", "precision", "weights", "card"),
    [
        ("llama-3.1-8b", "mi300x", "nvfp4", "NVFP4", "AMD Instinct MI300X"),
        ("gpt-oss-20b", "rx-7900-xtx", "stored", "MXFP4", "AMD Radeon RX 7900 XTX"),
        ("gpt-oss-20b", "ryzen-ai-max-395", "stored", "MXFP4", "AMD Ryzen AI Max+ 395"),
    ],
)
def test_what_an_engine_emulates_fits_without_a_speed(
    model: str, gpu: str, precision: str, weights: str, card: str
) -> None:
    """vLLM unpacks NVFP4 on AMD's cards for each product (vllm-project/vllm#35733), and MXFP4 on those that are no Instinct (#46676)."""
    found = sized(model, gpu, "vllm", precision)
    assert (found.fits, found.speed, found.refused) == (True, None, None)
    (why,) = (warning for warning in found.warnings if warning.startswith("no speed "))
    assert why.startswith(f"no speed at {precision.upper()}: vllm has no {weights} kernels for {card}")
    assert "nobody measured how slow that is" in why


@pytest.mark.parametrize(
    ("gpu", "engine"), [("mi300x", "vllm"), ("h100-sxm5-80gb", "vllm"), ("rx-7900-xtx", "llama.cpp")]
)
def test_mxfp4_has_a_speed_where_it_has_kernels(gpu: str, engine: str) -> None:
    assert sized("gpt-oss-20b", gpu, engine, "mxfp4").speed is not None


@pytest.mark.parametrize(
    ("gpu", "engine", "said"),
    [("t4", "vllm", "has no bfloat16 units: vLLM computes in float16 instead"), ("t4", "transformers", "PyTorch emulates it"),
     ("t4", "llama.cpp", None), ("l4", "vllm", None)],
)  # fmt: skip
def test_a_model_in_bfloat16_on_a_card_without(gpu: str, engine: str, said: str | None) -> None:
    """Qwen2.5's config says bfloat16; Turing has no units for it (compute capability 7.5), Ada has."""
    reason = speed("qwen2.5-1.5b-instruct", gpu, engine).reason
    assert said in reason if said is not None else "bfloat16" not in reason


def test_a_model_in_float16_needs_no_bfloat16() -> None:
    assert "bfloat16" not in speed("gpt2", "t4", "vllm", context="1k").reason


@pytest.mark.parametrize("gpu", ["h100-sxm5-80gb", "b200-sxm"])
def test_each_figure_says_what_it_rests_on_itself(gpu: str, catalog: Catalog) -> None:
    """vLLM V1 was measured decoding on both, and reading prompts on neither: the wider range is the first token's."""
    found = speed("llama-3.1-8b", gpu, "vllm")
    assert found.prefill_basis is not None
    assert found.decode_basis is not None
    assert (found.decode_basis.basis, found.prefill_basis.basis, found.prefill_basis.points) == (
        "measured-device",
        "extrapolated",
        0,
    )
    assert found.decode_basis.points == catalog.speed.measured[f"decode vllm on {gpu}, 16"]
    assert f"{found.decode_basis.points} measurements" in found.reason
    assert "first token: extrapolated" in found.reason


def test_the_first_token_has_the_range_of_its_own_basis(catalog: Catalog) -> None:
    """Had prompts been measured there, its range alone would be another, and it alone would say so."""
    spec, device = catalog.model("llama-3.1-8b").spec, "h100-sxm5-80gb"
    assert spec is not None
    layout, machine = catalog.layouts["plain-16"], catalog_machine(catalog.devices[device], 1)
    workload = Workload(context_tokens=4096, sequences=1)
    memory = estimate_memory(spec, catalog.engines["vllm"], layout, "fp16", workload, machine)
    more = {f"prefill {scope}": 5 for scope in (f"vllm on {device}, 16", "vllm, hbm, 16", "vllm, nvidia")}
    fits = (catalog.speed, msgspec.structs.replace(catalog.speed, measured={**catalog.speed.measured, **more}))
    before, after = (estimate(spec, memory, layout, machine, fit) for fit in fits)
    assert before is not None
    assert after is not None
    assert after.prefill_basis == FigureBasis(basis="measured-device", points=5)
    assert "first token: 5 measurements of vllm V1" in after.reason
    assert (before.decode_tokens_per_s, before.decode_basis) == (after.decode_tokens_per_s, after.decode_basis)
    assert before.ttft_s is not None
    assert after.ttft_s is not None
    assert before.ttft_s.median == after.ttft_s.median
    assert before.ttft_s.high / before.ttft_s.low > after.ttft_s.high / after.ttft_s.low


def test_text_and_markdown_name_the_basis_of_the_first_token_and_the_median() -> None:
    found = vram("llama-3.1-8b", gpu="h100-sxm5-80gb", engine="vllm", precision="fp16", context="4k")
    shown = found.estimates[0].speed
    assert shown is not None
    assert shown.decode_tokens_per_s is not None
    row = markdown_text(found).splitlines()[-1]
    assert "measured-device, first token extrapolated: " in row
    assert f"| {rate_with_range(shown.decode_tokens_per_s)} | " in row
    assert rate_with_range(shown.decode_tokens_per_s).startswith(f"{format_rate(shown.decode_tokens_per_s.median)} (")


@pytest.mark.parametrize(
    ("model", "gpu", "engine", "precision"),
    [("llama-3.1-8b", "rtx-4090", "llama.cpp", "int8"), ("llama-3.1-8b", "apple-m4-max-64gb", "llama.cpp", "int8"),
     ("llama-3.1-70b", "h100-sxm5-80gb", "vllm", "int4"), ("qwen2.5-7b", "a100-sxm4-80gb", "transformers", "fp16")],
)  # fmt: skip
def test_the_stated_share_of_a_bandwidth_is_that_of_the_printed_rate(
    model: str, gpu: str, engine: str, precision: str, catalog: Catalog
) -> None:
    """Bytes read for a token x tokens per second / bandwidth: at most what the physics of memory allows."""
    found = sized(model, gpu, engine, precision)
    assert found.speed is not None
    assert found.speed.decode_tokens_per_s is not None
    said = re.match(r"(\d+) % of ", found.speed.reason)
    assert said is not None
    assert int(said[1]) <= 95
    embedding = 0 if engine == "llama.cpp" else 0.02  # rows of it are looked up
    read = (found.weights_bytes + found.cache_bytes) * found.speed.decode_tokens_per_s.median
    bandwidth = catalog.devices[gpu].bandwidth_bytes_per_s
    assert bandwidth is not None
    assert int(said[1]) / 100 == pytest.approx(read / bandwidth, rel=0.1 + embedding)


@pytest.mark.parametrize(("engine", "precision"), [("transformers", "fp16"), ("llama.cpp", "int4")])
def test_beside_weights_of_main_memory_the_share_is_that_of_what_the_device_holds(
    engine: str, precision: str, catalog: Catalog
) -> None:
    """What lies on the device over the bandwidth, in the seconds of a step that the host's part leaves."""
    found = sized("llama-3.1-70b", "rtx-4090", engine, precision, memory="256GiB", offload=True)
    assert found.speed is not None
    assert found.speed.decode_tokens_per_s is not None
    said = re.match(r"(\d+) % of NVIDIA GeForce RTX 4090's bandwidth for what it holds, ", found.speed.reason)
    host = re.search(r"([\d.]+) s a step for weights outside of the device", found.speed.reason)
    assert said is not None
    assert host is not None
    device_s = 1 / found.speed.decode_tokens_per_s.median - float(host[1])
    read = found.weights_bytes + found.cache_bytes
    bandwidth = catalog.devices["rtx-4090"].bandwidth_bytes_per_s
    assert bandwidth is not None
    assert int(said[1]) / 100 == pytest.approx(read / device_s / bandwidth, rel=0.1)


def test_many_sequences_wait_for_the_matrix_units() -> None:
    """Each of a step's weights is multiplied once a sequence: past rate / bandwidth, 208 operations a byte on an A10, that takes longer than to read it."""
    bounds = [speed("llama-3.2-1b", "a10", "vllm", context=64, sequences=count).bound for count in (8, 1024)]
    assert bounds == ["bandwidth", "compute"]


def test_tensor_parallel_is_not_predicted_from_calls_of_one_device(catalog: Catalog) -> None:
    rates = msgspec.convert(json.loads((RESULTS / "hardware-measure-h100.json").read_text())["rates"], MachineRates)
    spec = catalog.model("llama-3.1-8b").spec
    assert spec is not None
    layout, facts = layout_for("transformers", "fp16", catalog, spec), catalog.engines["transformers"]
    bases = []
    for ranks in (1, 4):
        machine = catalog_machine(catalog.devices["h100-sxm5-80gb"], ranks)
        workload = Workload(context_tokens=4096, sequences=1, tensor_parallel=ranks)
        memory = estimate_memory(spec, facts, layout, "fp16", workload, machine)
        found = estimate(spec, memory, layout, machine, catalog.speed, rates=rates)
        assert found is not None
        bases.append(found.basis)
    assert bases == ["measured-here", "measured-device"]


@pytest.mark.parametrize(
    ("gpu", "joined"), [("l40s", False), ("a10", False), ("l4", False), ("t4", False), ("a100-sxm4-80gb", True)]
)
def test_cards_without_a_link_exchange_over_pcie(gpu: str, joined: bool, catalog: Catalog) -> None:
    """A prompt of 4,096 tokens over two devices: all-reduces of 4096 x hidden x 2 bytes, twice a layer, are felt where they go over PCIe."""
    one, two = (speed("qwen2.5-3b", f"{gpu}:{count}", "vllm", tensor_parallel=count).ttft_s for count in (1, 2))
    assert one is not None
    assert two is not None
    assert (catalog.devices[gpu].link_devices >= 2) == joined
    slow = 2 * 36 * 4 * 4096 * 2048 / 2 / 20e9
    added = two.median - one.median / 2
    assert (added > slow / 5) == (not joined)


@pytest.mark.parametrize(("model", "ranks"), [("llama-3.1-8b", 4), ("llama-3.1-8b", 16), ("deepseek-v3", 8)])
def test_a_rank_reads_the_cache_that_it_holds(model: str, ranks: int, catalog: Catalog) -> None:
    """8 KV heads over 16 ranks are held twice, a latent by every rank: what sizing says a device holds is what it reads."""
    spec, layout = catalog.model(model).spec, catalog.layouts["plain-16"]
    assert spec is not None
    machine = catalog_machine(catalog.devices["h100-sxm5-80gb"], ranks)
    workload = Workload(context_tokens=4096, sequences=1, tensor_parallel=ranks)
    memory = estimate_memory(spec, catalog.engines["vllm"], layout, "fp16", workload, machine)
    step = decode_pass(spec, layout, 4096, 1, memory.cache_bytes, "vllm")
    assert step is not None
    assert machine.device is not None
    setting = setting_of("vllm", machine.device, layout, spec, ranks=ranks, stages=1)
    read_s = nominal(step, setting, "decode").cache
    assert read_s * (machine.device.bandwidth_bytes_per_s or 0) == pytest.approx(memory.devices[0].cache_bytes)


def test_sound_is_not_read_as_tokens() -> None:
    found = speed("whisper-small", "rtx-4090", "transformers", context=448)
    assert found.prefill_tokens_per_s is None
    assert found.ttft_s is not None
    assert found.real_time_factor is not None

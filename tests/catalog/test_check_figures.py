"""A figure that another one contradicts is found: contexts, licences, sizes, tokens, devices, prices, scores, weights, caps and fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.catalog.check import check
from fmkit.catalog.links import link
from fmkit.catalog.paths import source_folder
from fmkit.catalog.sources import read_sources
from tests.catalog.planting import Plant, Planted, found_where_planted

_LLAMA = "families/llama-3.1.yaml"
_GEMMA = "families/gemma-3.yaml"
_NVIDIA = "hardware/nvidia.yaml"
_ANTHROPIC = "api/anthropic.yaml"
_SONNET = 'claude-sonnet-4-5:\n    name: Claude Sonnet 4.5\n    released: "2025-09-29"\n    input_usd_per_1m: 3\n    cached_input_usd_per_1m: 0.3\n    output_usd_per_1m: 15\n'
_GEMINI = 'gemini-2.5-pro:\n    name: Gemini 2.5 Pro\n    released: "2025-06-17"\n    input_usd_per_1m: 1.25\n    cached_input_usd_per_1m: 0.125\n    output_usd_per_1m: 10\n'
_RATES = "{float16: 165.2, bfloat16: 165.2, float8: 330.3"
_PRO = "scores/mmlu-pro.csv"
_YI = "\nyi-1.5-34b-chat,direct,52.3,"
_H100 = "tflops: {float16: 989, bfloat16: 989, float8: 1978, int8: 1978, float32: 66.9}\n    power_w: 700"

PLANTED: dict[str, Planted] = {
    # contexts
    "context eight times the file's": (_LLAMA, "tuning: base", "tuning: base\n    context_tokens: 1048576", None, "$.models.llama-3.1-8b.context_tokens", "1048576 is not the 131072 of configs/"),
    "context a quarter of the file's": (_LLAMA, "tuning: base", "tuning: base\n    context_tokens: 32768", None, "$.models.llama-3.1-8b.context_tokens", "32768 is not the 131072"),
    "context that its source does not write": (_GEMMA, 'base_model: gemma-3-4b-pt\n    released: "2025-03-12"\n    context_tokens: 131072', 'base_model: gemma-3-4b-pt\n    released: "2025-03-12"\n    context_tokens: 1048576', None, "$.models.gemma-3-4b-it.context_tokens", "the source does not write it"),
    "context in thousands": (_GEMMA, "context_tokens: 131072", "context_tokens: 128000", None, ".context_tokens", "looks like the 131072 of configs/"),
    "positions of a configuration": ("configs/meta-llama--Llama-3.1-8B-Instruct.json", '"max_position_embeddings": 131072', '"max_position_embeddings": 1048576', _LLAMA, "$.models.llama-3.1-8b-instruct.config", "its base llama-3.1-8b has 131072"),
    "positions of a configuration against the table": ("configs/Qwen--Qwen3-32B.json", '"max_position_embeddings": 40960', '"max_position_embeddings": 4096', "families/qwen3.yaml", "$.models.qwen3-32b.config", "the published table says 40960"),
    "factor of YaRN": ("configs/openai--gpt-oss-20b.json", '"factor": 32.0', '"factor": 16.0', None, "$.max_position_embeddings", "YaRN leads from 4096 to 65536"),
    "extended below the context": ("families/qwq.yaml", "extended_context_tokens: 131072", "extended_context_tokens: 13107", None, "$.models.qwq-32b.extended_context_tokens", "extended to 13107, but its context is 40960 without"),
    "extended beyond its source": ("families/qwq.yaml", "extended_context_tokens: 131072", "extended_context_tokens: 1048576", None, "$.models.qwq-32b.extended_context_tokens", "1048576 is not in its source"),
    "effective beyond advertised": ("scores/ruler-effective-context.csv", "\nllama-3.1-8b-instruct,threshold 85.6,32768,", "\nllama-3.1-8b-instruct,threshold 85.6,262144,", None, ", score", "its context is 131,072"),
    # licences
    "licence of a family against the table": (_LLAMA, "\nlicence: llama3.1\n", "\nlicence: apache-2.0\n", None, "$.licence", "is under 'apache-2.0' here, the published table says 'llama3.1'"),
    "licence of one size against the table": ("families/qwen2.5.yaml", "    licence: qwen-research\n    base_model: ", "    base_model: ", None, "$.licence", "qwen2.5-3b-instruct is under 'apache-2.0' here, the published table says 'qwen-research'"),
    "licence of a base unlike its children's": ("families/qwen2.5.yaml", "    licence: qwen-research\n    released: ", "    released: ", None, "$.models.qwen2.5-3b-instruct.licence", "its base qwen2.5-3b under 'apache-2.0' (permissive)"),
    "cap on users": ("licences.yaml", "user_cap: 700000000", "user_cap: 70000000", None, "$.licences.llama2.user_cap", "70,000,000, but its clause says 700,000,000"),
    "cap on monthly revenue": ("licences.yaml", "revenue_cap_usd_per_year: 240000000", "revenue_cap_usd_per_year: 20000000", None, ".revenue_cap_usd_per_year", "20,000,000, but its clause says 240,000,000"),
    "cap that is only in the clause": ("licences.yaml", "    user_cap: 700000000\n", "", None, "$.licences.llama2.user_cap", "missing, but its clause says 700,000,000"),
    "region that is only in the clause": ("licences.yaml", "    excluded_regions: [EU]\n    excluded_regions_modalities: [image]\n", "", None, "$.licences.llama3.2.excluded_regions", "list their codes"),
    "licence of weights for an API": ("api/openai.yaml", "licence: proprietary-openai", "licence: mit", None, "$.licence", "closed models have one of the class proprietary-api"),
    # sizes and training
    "base of another size": (_LLAMA, "base_model: llama-3.1-8b\n", "base_model: llama-3.1-70b\n", None, "$.models.llama-3.1-8b-instruct.base_model", "8.03B parameters, but its base llama-3.1-70b has 70.6B"),
    "training tokens of a base, a thousandth": (_GEMMA, "training_tokens: 4000000000000", "training_tokens: 4000000000", None, "$.models.gemma-3-4b-pt.training_tokens", "for each of 4.3B parameters"),
    "training tokens tenfold": (_GEMMA, "training_tokens: 12000000000000", "training_tokens: 120000000000000", None, "$.models.gemma-3-12b-pt.training_tokens", "is not between"),
    "training tokens of one size among many": (_GEMMA, "training_tokens: 4000000000000", "training_tokens: 80000000000000", None, "$.models.gemma-3-4b-pt.training_tokens", "the median of the family's others"),
    "training tokens of a family tenfold": (_LLAMA, "training_tokens: 15000000000000", "training_tokens: 150000000000000", None, "$.training_tokens", "is not between"),
    "training tokens of another age": ("families/llama-2.yaml", "training_tokens: 2000000000000", "training_tokens: 20000000000000", None, "$.training_tokens", "nobody had trained on 7,000,000,000,000 by then"),
    "added tokens as all": ("families/codellama.yaml", "    further_training_tokens: 500000000000", "    training_tokens: 500000000000", None, "$.models.codellama-7b-hf.training_tokens", "its base llama-2-7b-hf saw 2,000,000,000,000"),
    "config of another model": ("families/gpt-2.yaml", "config: openai-community--gpt2.json", "config: openai-community--gpt2-xl.json", None, "$.models.gpt2.config", "the published table says"),
    # devices
    "rate with sparsity": (_NVIDIA, _RATES, _RATES.replace("float16: 165.2, b", "float16: 330.3, b"), None, "$.devices.rtx-4090.tflops.bfloat16", "0.50 times the 330.3 of float16"),
    "all rates with sparsity": (_NVIDIA, _RATES, "{float16: 330.3, bfloat16: 330.3, float8: 660.6", None, "$.devices.rtx-4090.tflops.float16", "330.3 TFLOPS, but its source works out 165.2"),
    "float8 with sparsity": (_NVIDIA, _H100, _H100.replace("float8: 1978", "float8: 3958"), None, "$.devices.h100-sxm5-80gb.tflops.float8", "4.00 times the 989 of float16"),
    "vector units of twice the cores": ("hardware/cpu.yaml", "{vector: 2.9184}", "{vector: 5.8368}", None, "$.devices.cpu-ryzen-9-7950x.tflops.vector", "5.8368 TFLOPS, but its source works out 2.918"),
    "all rates of a data-centre card with sparsity": (_NVIDIA, _H100, _H100.replace("1978", "3958").replace("989", "1979"), None, "$.devices.h100-sxm5-80gb.tflops.float16", "its source works out 989"),
    "recalled and verified": (_NVIDIA, "      bandwidth_gb_s: 384 bit x 21", "      bandwidth_gb_s: recalled, 384 bit x 21", None, "$.devices.rtx-4090.verified", "the source of bandwidth_gb_s says recalled"),
    "bandwidth halved": (_NVIDIA, "bandwidth_gb_s: 1008\n", "bandwidth_gb_s: 504\n", None, "$.devices.rtx-4090.bandwidth_gb_s", "504 GB/s, but its source works out 1,008"),
    "bandwidth halved, by the bus": (_NVIDIA, "bandwidth_gb_s: 936.2\n", "bandwidth_gb_s: 468.1\n", None, "$.devices.rtx-3090.bandwidth_gb_s", "over 384 bits are 9.8 Gbit/s a pin, GDDR6X has 18.5 to 24"),
    "bandwidth doubled": (_NVIDIA, "bandwidth_gb_s: 2039\n", "bandwidth_gb_s: 4078\n", None, "$.devices.a100-sxm4-80gb.bandwidth_gb_s", "is no bandwidth of HBM2e"),
    "bandwidth of a CPU": ("hardware/cpu.yaml", "bandwidth_gb_s: 51.2\n", "bandwidth_gb_s: 25.6\n", None, "$.devices.cpu-desktop-ddr4-dual.bandwidth_gb_s", "its source works out 51.2"),
    "HBM on a gaming card": (_NVIDIA, "memory_kind: GDDR6X", "memory_kind: HBM3", None, ".memory_kind", "HBM3 is not sold on consumer devices"),
    "GDDR on a data-centre card": (_NVIDIA, "memory: 40GiB\n    memory_kind: HBM2\n", "memory: 40GiB\n    memory_kind: GDDR7\n", None, ".bus_bits", "5120 bits is no bus of GDDR7"),
    "memory tenfold": (_NVIDIA, "memory: 24GiB\n    memory_kind: GDDR6X", "memory: 240GiB\n    memory_kind: GDDR6X", None, "$.devices.rtx-3090.memory", "240GiB on 384 bits are 640.0 GiB for 1,024 bits of GDDR6X"),
    "bandwidth of one memory size": ("hardware/apple.yaml", "memory: 64GiB\n    memory_kind: LPDDR5\n    bandwidth_gb_s: 400\n", "memory: 64GiB\n    memory_kind: LPDDR5\n    bandwidth_gb_s: 230\n", None, "$.devices.apple-m1-max-64gb.bandwidth_gb_s", "while the same device with other memory has 400"),
    # prices
    "price of one of a line tenfold": (_ANTHROPIC, _SONNET, _SONNET.replace(": 3\n", ": 30\n").replace(": 0.3\n", ": 3\n").replace(": 15\n", ": 150\n"), None, "$.models.claude-sonnet-4-5.input_usd_per_1m", "models of its line within a year cost 2 to 3"),
    "price of a provider's model tenfold": ("api/google.yaml", _GEMINI, _GEMINI.replace("1.25", "12.5").replace("0.125", "1.25").replace(": 10\n", ": 100\n"), None, "$.models.gemini-2.5-pro.input_usd_per_1m", "the provider's next dearest"),
    "price of output tenfold": (_ANTHROPIC, _SONNET, _SONNET.replace(": 15\n", ": 150\n"), None, "$.models.claude-sonnet-4-5.output_usd_per_1m", "50 times the 3 of input"),
    "price of an instance for one device": ("prices/cloud.csv", ",v100-sxm2-16gb,1,3.06,", ",v100-sxm2-16gb,1,30.6,", None, ", usd_per_device_hour", "others ask 3.06"),
    # scores and tasks
    "fraction for a percentage": (_PRO, _YI, "\nyi-1.5-34b-chat,direct,0.523,", None, ", score", "was a fraction taken for a percentage?"),
    "digit too many": (_PRO, _YI, "\nyi-1.5-34b-chat,direct,523,", None, ", score", "is not between 0 and 100"),
    "score of a larger model": (_PRO, _YI, "\nqwen2.5-0.5b-instruct,direct,92.3,", None, ", score", "92.3 of qwen2.5-0.5b-instruct, while its other scores let expect about"),
    "variant of another version": ("scores/bfcl.csv", "\nglm-4.5,v3,", "\nglm-4.5,v2,", None, ", variant", "'v2', but the source printed 'Full; bfcl-v3'"),
    "weights of a task": ("tasks.yaml", "weight: 0.3\n", "weight: 0.5\n", None, "$.tasks.chat.benchmarks", "the weights add up to 1.2, expected 1"),
    # fits, and the catalog's own date
    "constant changed by hand": ("capability/items.csv", "language,aa-lcr,", "language,agieval,", "capability/fit.yaml", "$.constants_digest", "fit anew"),
    "publisher since the fit": ("capability/widths.csv", "language,no scores,publisher,Anthropic,", "language,no scores,publisher,Anthropics,", None, "$", "no publisher 'Anthropics'"),
    "score since the fit": (_PRO, _YI, "\nyi-1.5-34b-chat,direct,52.4,", "capability/fit.yaml", "$.scores_digest", "the scores have changed since the fit"),
    "fit of before there was a digest": ("capability/fit.yaml", "scores_digest: ", "# ", None, "$.scores_digest", "fit anew"),
    "the catalog's own date": ("VERSION", "2026-11-28", "2025-01-01", None, "$", "dates lie after it, the first in api/ai21.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_figure_is_found(planted: Planted, plant: Plant) -> None:
    found_where_planted(planted, plant)


def test_every_card_states_its_bus_or_how_its_bandwidth_comes_about() -> None:
    """Else a bandwidth halved would go unseen."""
    devices = link(read_sources(source_folder())).devices
    missing = [
        name
        for name, (_, entry) in devices.items()
        if entry.bandwidth_gb_s is not None and entry.bus_bits is None and " x " not in entry.sources["bandwidth_gb_s"]
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("file", "old", "new", "root"),
    [
        (_LLAMA, "tuning: base", "tunning: base", "missing"),
        (_LLAMA, "\nmodels:\n", "\nmodels: [\n", "not YAML"),
        ("licences.yaml", "verification: text-read", "verification: believed", "Invalid enum value 'believed'"),
        ("hardware/nvidia.yaml", "power_w: 450", "power_w: much", "Expected `float"),
        ("configs/INDEX.csv", "hub_id,", "hub,", "columns missing: hub_id"),
    ],
)
def test_a_broken_file_is_told_and_what_follows_is_counted(
    file: str, old: str, new: str, root: str, plant: Plant
) -> None:
    found = plant(file, old, new)
    assert any(fault.file == file and root in fault.message for fault in found)
    assert any(fault.file == file and "follow from this" in fault.message for fault in found)
    assert len(found) <= 5, [str(fault) for fault in found]


def test_a_misspelt_id_is_told_and_what_follows_is_counted(plant: Plant) -> None:
    found = plant(_LLAMA, "\n  llama-3.1-8b-instruct:\n", "\n  lama-3.1-8b-instruct:\n")
    place = "$.models.lama-3.1-8b-instruct.hub_id"
    assert [(fault.file, fault.path) for fault in found][:2] == [(_LLAMA, place)] * 2
    assert any("the id of meta-llama/Llama-3.1-8B-Instruct is 'llama-3.1-8b-instruct'" in f.message for f in found)
    assert any("follow from this, for they name llama-3.1-8b-instruct" in fault.message for fault in found)
    assert len(found) <= 3, [str(fault) for fault in found]


def test_a_name_that_many_places_miss_is_told_once(copied: Path) -> None:
    path = copied / "prices" / "cloud.csv"
    before = path.read_text()
    try:
        path.write_text(before.replace(",a10g,", ",a10h,"))
        (fault,) = check(copied)
    finally:
        path.write_text(before)
    assert "no device 'a10h' in the catalog (and in " in fault.message

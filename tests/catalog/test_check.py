"""A planted fault of each kind is found, with its file, its place and what was expected; the shipped catalog has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.catalog.check import check
from fmkit.catalog.compile import compile_catalog
from fmkit.catalog.faults import Fault
from fmkit.catalog.paths import source_folder
from fmkit.catalog.yaml_file import read_yaml
from fmkit.errors import CatalogInvalidError, ExitCode
from tests.catalog.planting import Plant, Planted, found_where_planted

_LLAMA = "families/llama-3.1.yaml"
_GEMMA = "families/gemma-2.yaml"
_NVIDIA = "hardware/nvidia.yaml"
_OPENAI = "api/openai.yaml"
_SCORES = "scores/mmlu.csv"
_PRICES = "prices/cloud.csv"
_RENT = "aws,g5.xlarge,a10g,1,1.006,us-east-1,AWS Pricing API capture in a public cost model; agrees with the public AWS list-price table,2026-08-17"
_TUNED = "tuning: instruct\n    aliases: [meta-llama/Meta-Llama-3.1-8B-Instruct,"
_COPY = "  llama-3.1-8b-instruct-hf:\n    hub_id: somebody/Llama-3.1-8B-Instruct-hf\n    config_of: llama-3.1-8b-instruct\n    tuning: instruct\n"

PLANTED: dict[str, Planted] = {
    # one file by itself
    "unknown key": (_LLAMA, "tuning: base", "tuning: base\n    tunning: base", None, "$.models.llama-3.1-8b.tunning", "unknown key"),
    "wrong type": (_NVIDIA, "power_w: 450", "power_w: 450 W", None, "$.devices.rtx-4090.power_w", "Expected `float"),
    "unknown value": (_LLAMA, "tuning: base", "tuning: bass", None, "$.models.llama-3.1-8b.tuning", "Invalid enum value 'bass'"),
    "missing key": (_LLAMA, "publisher: ", "# publisher: ", None, "$.publisher", "missing"),
    "duplicate key": (_LLAMA, "publisher: ", "name: again\npublisher: ", None, "line 2", "'name' is written twice"),
    "broken YAML": (_LLAMA, "publisher: ", "publisher: [", None, "line ", "not YAML"),
    "key that is no text": ("engines/transformers.yaml", "  fp32: plain-32", "  32: plain-32", None, "$.layouts", "quote it"),
    "CSV cell": (_PRICES, "aws,g5.xlarge,a10g,1,", "aws,g5.xlarge,a10g,one,", None, "line 13, count", "'one'"),
    "CSV empty cell": (_PRICES, "aws,g5.xlarge,a10g,1,", "aws,g5.xlarge,,1,", None, "line 13, device", "the cell is empty"),
    "CSV cells": (_PRICES, "aws,g5.xlarge,a10g,1,", "aws,g5.xlarge,1,", None, "line 13", "8 cells, expected 9"),
    "CSV header": (_SCORES, "reported_by", "who", None, "line 1", "missing: reported_by; unknown: who"),
    # what joins files
    "licence of a family": ("families/gpt-2.yaml", "licence: mit", "licence: mitt", None, "$.licence", "no licence 'mitt'"),
    "licence of an API": (_OPENAI, "licence: proprietary-openai", "licence: x", None, "$.licence", "no licence 'x'"),
    "task of a family": ("families/gpt-2.yaml", "tasks: [", "tasks: [chatt, ", None, "$.tasks", "no task 'chatt'"),
    "task of an API": (_OPENAI, "tasks: [chat, reasoning", "tasks: [chat, raisonnement", None, "$.tasks", "no task 'raisonnement'"),
    "layout of an engine": ("engines/transformers.yaml", "int8: bnb-llm-int8", "int8: bnb", None, "$.layouts", "no layout 'bnb'"),
    "device that an engine does not run on": ("engines/transformers.yaml", "devices: [rx-580]", "devices: [rx-590]", None, "$.not_on[0].devices", "no device 'rx-590'"),
    "phase of an effect": ("speed/effects.csv", "\ndecode,cache,all,", "\ndecoding,cache,all,", None, ", phase", "decoding"),
    "benchmark of a task": ("tasks.yaml", "benchmark: arena-hard", "benchmark: arena-soft", None, "$.tasks.chat.benchmarks[0].benchmark", "no benchmark 'arena-soft'"),
    "variant of a task": ("tasks.yaml", "variants: [v0.1]", "variants: [v0.7]", None, "$.tasks.chat.benchmarks[0].variants", "no score of arena-hard has the variant 'v0.7'"),
    "model of a score": (_SCORES, "\nllama-3.1-8b,", "\nlama-3.1-8b,", None, ", model", "no model 'lama-3.1-8b'"),
    "device of a price": (_PRICES, "aws,g5.xlarge,a10g,", "aws,g5.xlarge,a10h,", None, "line 13, device", "no device 'a10h'"),
    "successor": (_OPENAI, "successor: gpt-4.1", "successor: gpt-4.11", None, "$.models.gpt-4.successor", "no model 'gpt-4.11'"),
    "base model": (_LLAMA, "base_model: llama-3.1-8b", "base_model: llama-3.1-9b", None, ".base_model", "no model 'llama-3.1-9b'"),
    "no such config": (_LLAMA, "config: meta-llama--Meta-Llama-3.1-8B.json", "config: gone.json", None, "$.models.llama-3.1-8b.config", "configs/gone.json does not exist"),
    "config_of nobody": (_GEMMA, "config_of: gemma-2-2b\n", "config_of: gemma-2-3b\n", None, "$.models.gemma-2-2b-it.config_of", "no model 'gemma-2-3b'"),
    "config_of in a circle": (_GEMMA, "config: google--gemma-2-2b.json", "config_of: gemma-2-2b-it", None, "$.models.gemma-2-2b.config_of", "leads to no config file"),
    "config unlisted": ("configs/INDEX.csv", "openai-community--gpt2.json", "openai-community--gpt3.json", "configs/openai-community--gpt2.json", "$", "not listed"),
    "parameters": ("configs/INDEX.csv", "smollm2_135m,134515008,", "smollm2_135m,134515009,", "configs/HuggingFaceTB--SmolLM2-135M-Instruct.json", "$", "134,515,008 parameters read, 134,515,009 counted"),
    "config not understood": ("configs/openai-community--gpt2.json", '"gpt2"', '"gpt3"', None, "$", "not understood: model_type 'gpt3' is not known"),
    "alias of two models": (_OPENAI, "aliases: [gpt-4-0613", "aliases: [gpt-4o", None, "$.models.gpt-4", "is taken by model"),
    "alias of two devices": (_NVIDIA, "aliases: [rtx3090", "aliases: [rtx-4090", None, "$.devices.rtx-4090", "is taken by device 'rtx-3090'"),
    "Hub id of two models": (_LLAMA, "hub_id: meta-llama/Llama-3.1-8B\n", "hub_id: openai-community/gpt2\n", None, "$.models.llama-3.1-8b.hub_id", "is taken by model 'gpt2'"),
    "id unlike its Hub id": (_LLAMA, "hub_id: meta-llama/Llama-3.1-8B\n", "hub_id: meta-llama/Other\n", None, "$.models.llama-3.1-8b.hub_id", "the id of meta-llama/Other is 'other'"),
    "upper-case id": ("licences.yaml", "\n  mit:", "\n  MIT-2:", None, "$.licences.MIT-2", "lower case"),
    "alias of two licences": ("licences.yaml", "aliases: [llama-2]", "aliases: [llama-2, mit]", None, "$.licences", "'mit' means more than one licence"),
    # sources
    "licence without source": ("families/gpt-2.yaml", "  licence: ", "  licences: ", None, "$.sources.licence", "without a source"),
    "release without source": (_LLAMA, "  released: ", "  releasing: ", None, "$.models.llama-3.1-8b.sources.released", "without a source"),
    "training tokens without source": (_LLAMA, "  training_tokens: ", "  trained_tokens: ", None, "$.sources.training_tokens", "without a source"),
    "price without source": (_OPENAI, "      prices: ", "      cost: ", None, "$.models.gpt-4.sources.prices", "without a source"),
    "price without date": (_OPENAI, '    price_date: "2026-07-02"\n', "", None, "$.models.gpt-4.price_date", "a price has a date"),
    "bandwidth without source": (_NVIDIA, "      bandwidth_gb_s: ", "      bandwidth: ", None, "$.devices.gtx-1080-ti.sources.bandwidth_gb_s", "without a source"),
    # what can't be
    "bandwidth": (_NVIDIA, "bandwidth_gb_s: 1008\n", "bandwidth_gb_s: 1008000\n", None, "$.devices.rtx-4090.bandwidth_gb_s", "is not between"),
    "rate": (_NVIDIA, "tflops: {float16: 165.2", "tflops: {float16: 0", None, "$.devices.rtx-4090.tflops.float16", "is not between"),
    "memory without unit": (_NVIDIA, "memory: 11GiB", 'memory: "11"', None, "$.devices.gtx-1080-ti.memory", "write a number and a unit"),
    "free price": (_OPENAI, "input_usd_per_1m: 30\n", "input_usd_per_1m: 0\n", None, "$.models.gpt-4.input_usd_per_1m", "0 is not between"),
    "price per hour": (_PRICES, "a10g,1,1.006,", "a10g,1,-1.006,", None, "line 13, usd_per_device_hour", "is not between"),
    "date to come": (_OPENAI, 'released: "2023-03-14"', 'released: "2032-03-14"', None, "$.models.gpt-4.released", "lies after the catalog's date"),
    "date that is none": (_OPENAI, 'released: "2023-03-14"', 'released: "March 2023"', None, "$.models.gpt-4.released", "is no date"),
    "month that is none": (_OPENAI, 'released: "2023-03-14"', 'released: "2024-13"', None, "$.models.gpt-4.released", "'2024-13' is no date"),
    "language that is none": ("families/gpt-2.yaml", "languages: [en]", "languages: [dx]", None, "$.languages", "'dx' is no code of ISO 639"),
    "language in three letters": (_OPENAI, "languages: [en, de,", "languages: [en, deu,", None, "$.languages", "'deu' is no code of ISO 639"),
    # what contradicts
    "parameters against the name": (_GEMMA, "config: google--gemma-2-2b.json", "config: google--gemma-2-9b.json", None, "$.models.gemma-2-2b.config", "the name says 2B"),
    "parameters of another size": (_GEMMA, "config: google--gemma-2-9b.json", "config_of: gemma-2-2b", None, "$.models.gemma-2-9b.config_of", "the name says 9B"),
    "count against the published one": ("configs/INDEX.csv", "134515008,134515008,y", "134515008,234515008,y", None, "HuggingFaceTB--SmolLM-135M.json", "134,515,008 parameters counted, 234,515,008 published"),
    "context beyond the positions": ("families/gpt-2.yaml", "  gpt2:\n", "  gpt2:\n    context_tokens: 2048\n", None, "$.models.gpt2.context_tokens", "2048 is beyond the 1024 positions"),
    "context beyond all stretching": (_LLAMA, "tuning: base", "tuning: base\n    context_tokens: 4194304", None, "$.models.llama-3.1-8b.context_tokens", "more than 16 times the 131072"),
    "bandwidth of another memory": (_NVIDIA, "bandwidth_gb_s: 1008\n", "bandwidth_gb_s: 3350\n", None, "$.devices.rtx-4090.bandwidth_gb_s", "3350 GB/s is no bandwidth of GDDR6X"),
    "memory of no kind": (_NVIDIA, "memory_kind: GDDR6X", "memory_kind: GDDR6Y", None, ".memory_kind", "'GDDR6Y' is none of"),
    "cached input dearer": (_OPENAI, "cached_input_usd_per_1m: 1.25\n", "cached_input_usd_per_1m: 12.5\n", None, "$.models.gpt-4o.cached_input_usd_per_1m", "12.5 is above the 2.5"),
    "output cheaper than input": (_OPENAI, "output_usd_per_1m: 60\n", "output_usd_per_1m: 6\n", None, "$.models.gpt-4.output_usd_per_1m", "6 is below the 30"),
    "child before its base": (_LLAMA, '    base_model: llama-3.1-8b\n    released: "2024', '    base_model: llama-3.1-8b\n    released: "2022', None, "$.models.llama-3.1-8b-instruct.released", "but its base llama-3.1-8b 2024"),
    "score before the release": (_SCORES, "\nllama-3.1-8b,5-shot,66.7,%,meta-llama/llama-models@a9c89c4:models/llama3_2/MODEL_CARD.md,2024-09-25", "\nllama-3.1-8b,5-shot,66.7,%,somebody,2019-01-01", None, ", source_date", "a score of 2019-01-01 for llama-3.1-8b"),
    "cap without its clause": ("licences.yaml", '- users: "Section 2: a separate', '- "Section 2: a separate', None, "$.licences.llama2.user_cap", "with the topic users"),
    "no to outputs without its clause": ("licences.yaml", '- outputs: "Section 1.b.v: materials', '- "Section 1.b.v: materials', None, "$.licences.llama2.trains_on_outputs", "with the topic outputs"),
    "topic of a clause": ("licences.yaml", '- users: "Section 2: a separate', '- people: "Section 2: a separate', None, "$.licences.llama2.conditions", "people"),
    "permissive licence against commercial use": ("licences.yaml", 'licence_class: permissive\n    commercial: "yes"', 'licence_class: permissive\n    commercial: "no"', None, "$.licences.apache-2.0.commercial", "its class is permissive"),
    "research licence for commercial use": ("licences.yaml", 'licence_class: research-only\n    commercial: "no"', 'licence_class: research-only\n    commercial: "yes"', None, ".commercial", "its class is research-only"),
    "vision-language model that sees nothing": ("families/qwen2-vl.yaml", "\ninputs: [text, image, video]", "\ninputs: [text]", None, "$.inputs", "text without image, but qwen2-vl-2b-instruct is of the kind vision-language"),
    "instruct model as base": (_LLAMA, _TUNED, _TUNED.replace("instruct", "base", 1), None, "$.models.llama-3.1-8b-instruct.tuning", "'base', but the name Llama-3.1-8B-Instruct says instruct"),
    "base model as instruct": ("families/qwen3.yaml", "tuning: base", "tuning: instruct", None, ".tuning", "-Base says base"),
    "base model that thinks": (_LLAMA, "tuning: base", "tuning: base\n    thinks: true", None, "$.models.llama-3.1-8b.thinks", "writes no thoughts"),
    "mode without thoughts of one that has none": (_LLAMA, _TUNED, f"answers_directly: true\n    {_TUNED}", None, "$.models.llama-3.1-8b-instruct.answers_directly", "only a model that `thinks`"),
    "score in another benchmark's unit": (_SCORES, "\nllama-3.1-8b,5-shot,66.7,%,", "\nllama-3.1-8b,5-shot,66.7,WER %,", None, ", unit", "'WER %', but "),
    # what is there twice, stale, or out of step
    "model but for spelling": (_OPENAI, "\n  gpt-4o-mini:\n", "\n  gpt-4_turbo:\n", None, "$.models.gpt-4_turbo", "differs from the model 'gpt-4-turbo' in spelling only"),
    "device twice": (_NVIDIA, "name: NVIDIA GeForce RTX 4090\n", "name: NVIDIA GeForce RTX 3090\n", None, "$.devices.rtx-4090", "differs from the device 'rtx-3090' in spelling only"),
    "name of two licences": ("licences.yaml", "name: BSD 3-Clause License", "name: MIT-License", None, "$.licences.bsd-3-clause.name", "is the name of 'mit' too"),
    "two publishers of an organisation": ("families/falcon-mamba.yaml", "publisher: Technology Innovation Institute", "publisher: TII", None, "$.publisher", "'TII' has models of tiiuae here, 'Technology Innovation Institute' in families/falcon-3.yaml"),
    "model of another's organisation": ("families/gpt-2.yaml", "    publisher: Hugging Face\n", "", None, "$.publisher", "'OpenAI' has models of distilbert here, 'Hugging Face' in families/distilbert.yaml"),
    "publisher but for spelling": ("api/zai.yaml", "provider: Z.ai", "provider: Z AI", None, "$.provider", "'Z AI' here, 'Z.ai' in families/glm-4.5.yaml"),
    "publisher and a word": ("api/cohere.yaml", "provider: Cohere", "provider: Cohere Labs", None, "$.provider", "'Cohere Labs' here, 'Cohere' in families/aya.yaml"),
    "score twice": (_SCORES, "\nbaichuan2-7b-base,5-shot,", "\nbaichuan2-7b-base,5-shot,55,%,somebody,2023-12-01,other-vendor,\nbaichuan2-7b-base,5-shot,", None, "line 4", "has a score of this variant and reporter already"),
    "stale price": (_OPENAI, 'price_date: "2026-11-16"', 'price_date: "2025-11-16"', None, "$.models.gpt-4o.price_date", "2025-11-16 is stale"),
    "stale price of a cloud": (_PRICES, _RENT, _RENT.replace("2026-08-17", "2019"), None, "line 13, source_date", "2019 is stale"),
    "same weights in another form": (_LLAMA, "\n  llama-3.1-70b:\n", f"\n{_COPY}\n  llama-3.1-70b:\n", None, "$.models.llama-3.1-8b-instruct-hf.hub_id", "the weights of 'llama-3.1-8b-instruct' again"),
    "quantised repository of two models": (_LLAMA, "nvidia/Llama-3.1-8B-Instruct-FP8, ", "unsloth/Llama-3.1-8B-bnb-4bit, ", None, "$.models.llama-3.1-8b-instruct.quantised", "unsloth/Llama-3.1-8B-bnb-4bit is of 'llama-3.1-8b' already"),
    "fit of other measurements": ("speed/fit.yaml", '\nmeasurements: "', '\nmeasurements: "0', None, "$.measurements", "have changed since the fit"),
    "example of a size": ("sizes.yaml", "example: qwen3-32b", "example: qwen3-33b", None, "$.sizes.20b-40b.example", "no model 'qwen3-33b'"),
    "size of nothing": ("sizes.yaml", "    from_params: 45000000000\n", "", None, "$.sizes.50b-80b", "give from_params and example"),
    "catalog's date": ("VERSION", "2026-11-28", "soon", None, "$", "'soon' is no date"),
    "needed file": ("NOTICE.md", "", "", None, "$", "missing"),
}  # fmt: skip


def test_the_shipped_catalog_has_no_fault() -> None:
    assert [str(fault) for fault in check(source_folder())] == []


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(planted: Planted, plant: Plant) -> None:
    found_where_planted(planted, plant)


def test_all_faults_of_all_files_come_in_one_error(copied: Path) -> None:
    """Three faults in two files: one error, exit code 6, each fault with its file and path."""
    edits = {
        _NVIDIA: (("power_w: 450", "power_w: much"), ("tflops: {float16: 165.2", "tflops: {float16: fast")),
        "licences.yaml": (("verification: text-read", "verification: believed"),),
    }
    before = {file: (copied / file).read_text() for file in edits}
    try:
        for file, changes in edits.items():
            text = before[file]
            for old, new in changes:
                text = text.replace(old, new, 1)
            (copied / file).write_text(text)
        with pytest.raises(CatalogInvalidError) as raised:
            compile_catalog(copied)
    finally:
        for file, text in before.items():
            (copied / file).write_text(text)
    lines = raised.value.message.splitlines()
    assert raised.value.exit_code == ExitCode.CATALOG_INVALID
    assert raised.value.where == str(copied)
    assert lines[0] == "the catalog has 3 faults:"
    assert [line.split(": ")[:2] for line in lines[1:]] == [
        [f"  {_NVIDIA}:{_line(_NVIDIA, 'power_w: 450')}", "$.devices.rtx-4090.power_w"],
        [f"  {_NVIDIA}:{_line(_NVIDIA, 'tflops: {float16: 165.2')}", "$.devices.rtx-4090.tflops.float16"],
        [f"  licences.yaml:{_line('licences.yaml', 'verification: text-read')}", "$.licences.apache-2.0.verification"],
    ]


def _line(file: str, text: str) -> int:
    """The line of the shipped file on which `text` stands first."""
    return (source_folder() / file).read_text().split(text, 1)[0].count("\n") + 1


def test_dates_and_no_stay_text(tmp_path: Path) -> None:
    """YAML 1.1 would make a date of 2024-07-23 and False of `no`, which is Norwegian."""
    (tmp_path / "a.yaml").write_text("released: 2024-07-23\nlanguage: no\nswitch: on\nword: truest\n")
    faults: list[Fault] = []
    read = read_yaml(tmp_path / "a.yaml", "a.yaml", dict[str, str], faults)
    assert read == {"released": "2024-07-23", "language": "no", "switch": "on", "word": "truest"}
    assert faults == []

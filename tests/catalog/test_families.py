"""The family, config, score and task files against each other and against facts read by hand from the configs."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fmkit.catalog.schema import ApiFile, ConfigRow, FamilyFile, LicenceFile, ModelEntry, TaskFile
from fmkit.selection.facts import Task
from fmkit.selection.score_items import matches

CATALOG = Path(__file__).parents[2] / "catalog"
SCORE_COLUMNS = ["model", "variant", "score", "unit", "source", "source_date", "reported_by", "notes"]
DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _families() -> dict[str, FamilyFile]:
    return {path.stem: msgspec.convert(_yaml(path), FamilyFile) for path in sorted(CATALOG.glob("families/*.yaml"))}


def _scores() -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    for path in sorted(CATALOG.glob("scores/*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            assert reader.fieldnames == SCORE_COLUMNS, path.name
            rows[path.stem] = list(reader)
    return rows


def _index() -> dict[str, ConfigRow]:
    with (CATALOG / "configs" / "INDEX.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{key: cell or None for key, cell in row.items()} for row in csv.DictReader(stream, strict=True)]
    read = [msgspec.convert({**row, "notes": row["notes"] or ""}, ConfigRow, strict=False) for row in rows]
    return {row.file: row for row in read}


FAMILIES = _families()
MODELS: dict[str, ModelEntry] = {
    model_id: model for family in FAMILIES.values() for model_id, model in family.models.items()
}
FAMILY_OF = {model_id: family for family in FAMILIES.values() for model_id in family.models}
SCORES = _scores()
INDEX = _index()
TASKS: dict[str, Task] = msgspec.convert(_yaml(CATALOG / "tasks.yaml"), TaskFile).tasks


def _config(model_id: str) -> dict[str, Any]:
    model = MODELS[model_id]
    file = model.config or MODELS[str(model.config_of)].config
    read: dict[str, Any] = json.loads((CATALOG / "configs" / str(file)).read_text(encoding="utf-8"))
    return read


def _tasks(model_id: str) -> tuple[str, ...]:
    own = MODELS[model_id].tasks
    return FAMILY_OF[model_id].tasks if own is None else own


def _licence(model_id: str) -> str:
    return MODELS[model_id].licence or FAMILY_OF[model_id].licence


def test_every_family_the_issue_names_is_there() -> None:
    named = {
        "gpt-2", "llama-2", "llama-3", "llama-3.1", "llama-3.2", "llama-3.3", "mistral", "mixtral", "qwen2.5", "qwen2.5-coder",
        "qwen3", "gemma", "gemma-2", "gemma-3", "phi-3", "phi-4", "falcon", "deepseek-coder", "deepseek-v3", "codellama", "aya",
        "yarn-mistral", "bert", "roberta", "deberta", "t5", "flan-t5", "bart", "clip", "llava", "blip-2", "whisper", "mamba",
        "sentence-transformers", "bge", "e5", "qwen3-embedding", "nllb", "biomistral", "biobert", "legal-bert", "saullm",
        "ms-marco", "smollm2", "gpt-oss",
    }  # fmt: skip
    assert named <= set(FAMILIES)


def test_no_model_id_is_used_twice() -> None:
    assert sum(len(family.models) for family in FAMILIES.values()) == len(MODELS)


def test_id_is_the_last_part_of_the_hub_id() -> None:
    for model_id, model in MODELS.items():
        assert model_id == model.hub_id.split("/")[1].lower().removeprefix("meta-")


def test_the_catalog_is_as_wide_as_it_says() -> None:
    """Sets of weights, each once: base and instruct are two, a quantised repository is none."""
    assert len(FAMILIES) >= 80
    assert len({model.hub_id.casefold() for model in MODELS.values()}) >= 300


def test_names_are_unique_over_ids_hub_ids_and_aliases() -> None:
    names = Counter(
        name.casefold() for model_id, model in MODELS.items() for name in (model_id, model.hub_id, *model.aliases)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_model_leads_to_one_config_file_of_the_index() -> None:
    for model_id, model in MODELS.items():
        assert (model.config is None) != (model.config_of is None), model_id
        file = model.config or MODELS[str(model.config_of)].config
        assert file is not None, f"{model_id}: config_of must name a model with a file of its own"
        assert file in INDEX, model_id
        assert (CATALOG / "configs" / file).is_file(), model_id
        if model.config is not None:
            names = {model.hub_id.casefold(), *(alias.casefold() for alias in model.aliases)}
            assert INDEX[model.config].hub_id.casefold() in names, model_id


def test_index_and_folder_hold_the_same_files() -> None:
    assert {path.name for path in CATALOG.glob("configs/*.json")} == set(INDEX)
    for file, row in INDEX.items():
        assert row.hub_id.replace("/", "--") + ".json" == file
        assert row.source


def test_a_match_is_what_the_index_says_it_is() -> None:
    for row in INDEX.values():
        if row.match == "y":
            assert row.params_meta is not None, row.file
            assert row.params_published is not None, row.file
            assert abs(row.params_meta - row.params_published) <= 0.021 * row.params_published, row.file
        elif row.match == "y-explained":
            assert "EXPLAINED" in row.notes, row.file
        else:
            assert row.match in {"n", "unknown"}, row.file


PUBLISHED_QUANTISED = ("deepseek-", "gpt-oss-", "devstral-", "kimi-k2-", "mimo-v2-", "minimax-m2")
"""What the publisher has released in no 16-bit form."""


def test_quantised_repositories_are_no_models() -> None:
    quantised = [m for m in MODELS if _config(m).get("quantization_config") is not None]
    assert [m for m in quantised if not m.startswith(PUBLISHED_QUANTISED)] == []


@pytest.mark.parametrize("family_id", FAMILIES)
def test_facts_have_sources(family_id: str) -> None:
    family = FAMILIES[family_id]
    for key in ("licence", "languages"):
        assert key in family.sources, key
    for model_id, model in family.models.items():
        named = {**family.sources, **model.sources}
        for key in ("released", "context_tokens", "embedding_dim", "gated", "domain", "training_tokens"):
            if getattr(model, key) is not None or getattr(family, key, None) is not None:
                assert key in named, f"{model_id}: no source of {key}"
        for key in ("thinks", "needs_fine_tune"):
            if getattr(model, key):
                assert key in named or "tasks" in named, f"{model_id}: no source of {key}"
        if _tasks(model_id):
            assert "tasks" in named, f"{model_id}: no source of tasks"
    assert all(source.strip() for source in family.sources.values())


def test_dates_are_dates() -> None:
    dated = {model_id: model.released for model_id, model in MODELS.items() if model.released is not None}
    assert [(model_id, date) for model_id, date in dated.items() if not DATE.fullmatch(date)] == []


def test_base_models_are_of_the_catalog_or_named_by_nothing() -> None:
    for model_id, model in MODELS.items():
        assert model.base_model is None or model.base_model in MODELS, model_id
        assert model.base_model != model_id


def test_tasks_are_known_and_fit_the_tuning() -> None:
    for model_id, model in MODELS.items():
        inputs = model.inputs or FAMILY_OF[model_id].inputs
        for task_id in _tasks(model_id):
            task = TASKS[task_id]
            assert model.tuning in task.tunings, f"{task_id} would never propose {model_id}"
            assert set(task.inputs) <= set(inputs), f"{model_id}: {task_id} needs other input"
            assert task_id not in model.not_for, model_id
        assert set(model.not_for) <= set(TASKS), model_id


def test_chat_never_proposes_a_base_model() -> None:
    assert "base" not in TASKS["chat"].tunings
    assert [m for m, model in MODELS.items() if model.tuning == "base" and "chat" in _tasks(m)] == []


def test_fill_mask_encoders_need_a_fine_tune() -> None:
    encoders = [m for m in MODELS if "fill-mask" in (MODELS[m].outputs or FAMILY_OF[m].outputs)]
    assert len(encoders) >= 10
    assert all(MODELS[m].needs_fine_tune and MODELS[m].tuning == "base" for m in encoders)
    assert {task for m in encoders for task in _tasks(m)} <= {"classification", "ner", "biomedical", "legal"}


def test_licences_are_known() -> None:
    path = CATALOG / "licences.yaml"
    if not path.is_file():
        pytest.skip("licences.yaml is not there yet")
    known = set(msgspec.convert(_yaml(path), LicenceFile).licences)
    assert {_licence(model_id) for model_id in MODELS} <= known


LICENCES = {
    "qwen2.5-3b-instruct": "qwen-research", "qwen2.5-72b-instruct": "qwen", "qwen2.5-14b": "apache-2.0",
    "qwen2.5-coder-3b-instruct": "qwen-research", "deepseek-v3": "deepseek", "deepseek-v3-0324": "mit", "deepseek-r1": "mit",
    "deepseek-r1-distill-llama-8b": "llama3.1", "deepseek-r1-distill-llama-70b": "llama3.3",
    "deepseek-r1-distill-qwen-7b": "mit", "zephyr-7b-beta": "mit", "falcon-7b": "apache-2.0", "falcon-40b": "apache-2.0",
    "mamba-130m-hf": "apache-2.0", "phi-4": "mit", "llama-3.2-11b-vision-instruct": "llama3.2", "aya-23-8b": "cc-by-nc-4.0-cohere",
    "nllb-200-3.3b": "cc-by-nc-4.0", "codellama-7b-hf": "llama2", "llava-1.5-7b-hf": "llama2", "biobert-v1.1": "unknown",
}  # fmt: skip


@pytest.mark.parametrize(("model_id", "licence"), LICENCES.items())
def test_licence_belongs_to_the_size(model_id: str, licence: str) -> None:
    assert _licence(model_id) == licence


CONTEXTS = {
    "deepseek-coder-6.7b-instruct": 16384, "all-minilm-l6-v2": 256, "all-mpnet-base-v2": 384, "yarn-mistral-7b-128k": 131072,
    "xlm-roberta-base": 512, "bge-m3": 8192, "deepseek-r1": 131072, "gemma-3-27b-it": 131072, "falcon-40b": 2048,
}  # fmt: skip


@pytest.mark.parametrize(("model_id", "tokens"), CONTEXTS.items())
def test_context_where_the_file_says_otherwise(model_id: str, tokens: int) -> None:
    assert MODELS[model_id].context_tokens == tokens
    assert _config(model_id).get("max_position_embeddings") != tokens or model_id.startswith("deepseek-coder")


@pytest.mark.parametrize(
    ("model_id", "facts"),
    [
        ("gpt2", {"n_layer": 12, "n_embd": 768, "n_positions": 1024}),
        ("llama-3.1-70b", {"num_hidden_layers": 80, "num_key_value_heads": 8, "vocab_size": 128256}),
        ("llama-2-70b-chat-hf", {"num_hidden_layers": 80, "num_key_value_heads": 8}),
        ("mistral-7b-v0.1", {"sliding_window": 4096}),
        ("mistral-7b-instruct-v0.2", {"sliding_window": None}),
        ("qwen2.5-3b", {"num_hidden_layers": 36, "num_key_value_heads": 2, "tie_word_embeddings": True}),
        ("qwen2.5-coder-32b-instruct", {"num_hidden_layers": 64, "hidden_size": 5120}),
        ("mixtral-8x7b-instruct-v0.1", {"num_local_experts": 8, "num_experts_per_tok": 2}),
        ("deepseek-r1-0528", {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 256}),
        ("deepseek-coder-6.7b-base", {"max_position_embeddings": 16384}),
        ("gemma-2-27b-it", {"num_hidden_layers": 46, "head_dim": 128, "sliding_window": 4096}),
        ("bge-small-en-v1.5", {"hidden_size": 384, "num_hidden_layers": 12}),
        ("whisper-large-v3-turbo", {"encoder_layers": 32, "decoder_layers": 4, "num_mel_bins": 128}),
        ("whisper-small.en", {"d_model": 768, "vocab_size": 51864}),
        ("codellama-34b-hf", {"vocab_size": 32000}),
        ("codellama-13b-hf", {"vocab_size": 32016}),
        ("t5-11b", {"d_kv": 128, "num_heads": 128, "d_model": 1024}),
        ("all-minilm-l6-v2", {"hidden_size": 384, "num_hidden_layers": 6}),
        ("mamba-2.8b-hf", {"num_hidden_layers": 64, "hidden_size": 2560, "state_size": 16}),
        ("gpt-oss-20b", {"num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128}),
    ],
)
def test_configs_say_what_the_publisher_says(model_id: str, facts: dict[str, object]) -> None:
    config = _config(model_id)
    assert {key: config.get(key) for key in facts} == facts


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"), ("qwen2-14b", "qwen2.5-14b"), ("phi-3-mini", "phi-3-mini-4k-instruct"),
        ("mistral-7b", "mistral-7b-v0.1"), ("llama-2-13b", "llama-2-13b-hf"), ("bert", "bert-base-uncased"), ("t5", "t5-small"),
        ("liuhaotian/llava-v1.5-7b", "llava-1.5-7b-hf"), ("yarn-mistral", "yarn-mistral-7b-128k"), ("blip-2", "blip2-flan-t5-xl"),
        ("pubmedbert", "biomednlp-biomedbert-base-uncased-abstract-fulltext"), ("gemma-7b", "gemma-7b"), ("whisper", "whisper-base"),
        ("deepseek-coder", "deepseek-coder-6.7b-instruct"), ("clip", "clip-vit-base-patch32"), ("mamba", "mamba-2.8b-hf"),
    ],
)  # fmt: skip
def test_names_people_use(name: str, model_id: str) -> None:
    model = MODELS[model_id]
    assert name.casefold() in {alias.casefold() for alias in (model_id, model.hub_id, *model.aliases)}


def _api_models() -> set[str] | None:
    files = sorted(CATALOG.glob("api/*.yaml"))
    if not files:
        return None
    return {model_id for path in files for model_id in msgspec.convert(_yaml(path), ApiFile).models}


@pytest.mark.parametrize("benchmark", SCORES)
def test_scores_are_of_catalog_models_and_sourced(benchmark: str) -> None:
    api = _api_models()
    for row in SCORES[benchmark]:
        if api is not None:
            assert row["model"] in MODELS or row["model"] in api, row["model"]
        assert row["model"] == row["model"].lower()
        assert row["reported_by"] in {"vendor", "other-vendor", "independent"}
        assert DATE.match(row["source_date"]), row
        assert row["source"]
        assert row["variant"]
        value = float(row["score"])
        if row["unit"].startswith(("%", "WER", "score 0-100")):
            assert 0 <= value <= 100, row
    lines = Counter((row["model"], row["variant"], row["reported_by"]) for row in SCORES[benchmark])
    assert [line for line, count in lines.items() if count > 1] == []


def test_known_wrong_scores_are_out() -> None:
    gemma = [row for row in SCORES["ifeval"] if row["model"].startswith("gemma-2-") and "LG" in row["variant"]]
    assert gemma == []
    qwen3 = [float(row["score"]) for row in SCORES["mmlu-pro"] if row["model"] == "qwen3-235b-a22b"]
    assert qwen3
    assert 68.18 not in qwen3, "a figure of the base model under the name of the chat model"


def test_methods_are_kept_apart() -> None:
    def score(benchmark: str, model: str, variant: str) -> float:
        found = [float(r["score"]) for r in SCORES[benchmark] if r["model"] == model and r["variant"] == variant]
        return found[0]

    assert score("mmlu-pro", "llama-3.1-8b-instruct", "direct") == 48.3
    assert score("open-llm-mmlu-pro", "llama-3.1-8b-instruct", "chat template") == 37.62
    assert score("gpqa-diamond", "deepseek-r1-distill-llama-70b", "thinking") == 65.2


def test_the_23_tasks_are_there() -> None:
    assert set(TASKS) == {
        "chat", "reasoning", "code", "code-completion", "tool-calling", "structured-output", "summarisation", "translation",
        "classification", "ner", "embedding", "retrieval", "rerank", "image-text", "vision-qa", "document-qa", "ocr",
        "transcription", "long-document-qa", "multilingual", "biomedical", "legal", "edge",
    }  # fmt: skip


@pytest.mark.parametrize("task_id", TASKS)
def test_a_task_ranks_by_comparable_scores_or_says_why_not(task_id: str) -> None:
    task = TASKS[task_id]
    assert any(task_id in _tasks(model_id) for model_id in MODELS), "no open model is for this task"
    if task.unranked is not None:
        assert task.benchmarks == ()
        return
    assert sum(benchmark.weight for benchmark in task.benchmarks) == pytest.approx(1)
    for benchmark in task.benchmarks:
        variants = {row["variant"] for row in SCORES[benchmark.benchmark]}
        for pattern in benchmark.variants:
            assert any(matches(variant, (pattern,)) for variant in variants), f"{benchmark.benchmark}: {pattern}"
        models = {r["model"] for r in SCORES[benchmark.benchmark] if matches(r["variant"], benchmark.variants)}
        candidates = {m for m in models & set(MODELS) if task_id in _tasks(m)}
        assert len(candidates) >= 2, f"{benchmark.benchmark} compares nobody"


@pytest.mark.parametrize("task_id", TASKS)
def test_scored_candidates(task_id: str) -> None:
    """A ranking needs candidates with scores: at least four, or all there are."""
    task = TASKS[task_id]
    if task.unranked is not None:
        return
    candidates = {m for m in MODELS if task_id in _tasks(m)}
    scored = {
        row["model"]
        for benchmark in task.benchmarks
        for row in SCORES[benchmark.benchmark]
        if matches(row["variant"], benchmark.variants)
    }
    assert len(candidates & scored) >= min(4, len(candidates))


def test_error_rates_are_turned_round() -> None:
    for task in TASKS.values():
        for benchmark in task.benchmarks:
            is_error = benchmark.benchmark.startswith(("openasr-", "vectara-", "librispeech-"))
            assert benchmark.higher_is_better is not is_error

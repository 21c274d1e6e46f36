"""What people type: models by any of their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.api.resolve import resolve_model
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("llama-3.1-8b", "llama-3.1-8b"), ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"), ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("Llama 3.1 8B", "llama-3.1-8b"), ("GPT-4o", "gpt-4o"), ("Claude 3.5", "claude-3-5-sonnet"), ("gemini-1.5", "gemini-1.5-pro"),
        ("openai-community/gpt2", "gpt2"), ("Qwen2 14B", "qwen2.5-14b"),
    ],
)  # fmt: skip
def test_a_model_answers_to_its_names(name: str, model_id: str) -> None:
    assert resolve_model(name, load_catalog(), offline=True).id == model_id


def test_the_folder_one_is_in_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="name a model"):
        resolve_model("", load_catalog())


def test_the_embedded_model_has_a_name() -> None:
    found, by_path = (resolve_model(name, load_catalog(), offline=True) for name in (EMBEDDED, str(MODEL_PATH)))
    assert (found.ref, found.id, found.path) == (EMBEDDED, EMBEDDED, MODEL_PATH)
    assert found.spec == by_path.spec

"""Training tokens: all that a model saw, those added to another's among them."""

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.cli.main import main
from fmkit.errors import ExitCode
from fmkit.selection.covariates import covariates
from fmkit.selection.facts import Candidate

TRILLION = 10**12


def _model(model_id: str) -> Candidate:
    return load_catalog().model(model_id).candidate


@pytest.mark.parametrize(
    ("model_id", "tokens", "further"),
    [
        # Llama 2: 2.0T (its model card); Code Llama adds 500B, 70B adds 1T (arXiv:2308.12950); instruct models saw what their base did
        ("codellama-7b-hf", 2.5, 0.5),
        ("codellama-7b-instruct-hf", 2.5, 0.5),
        ("codellama-70b-instruct-hf", 3.0, 1.0),
        # Qwen2.5: 18T, Coder adds 5.5T
        ("qwen2.5-coder-7b-instruct", 23.5, 5.5),
        # Mistral names no count, so that the total is not known
        ("biomistral-7b", None, 0.003),
        ("saullm-54b-instruct", None, 0.54),
        # a Llama 2 of 34B was not released
        ("codellama-34b-hf", None, 0.5),
        ("llama-3.1-8b-instruct", 15.0, None),
    ],
)
def test_added_tokens_come_on_top_of_the_bases(model_id: str, tokens: float | None, further: float | None) -> None:
    facts = _model(model_id)
    assert facts.training_tokens == (None if tokens is None else round(tokens * TRILLION))
    assert facts.further_training_tokens == (None if further is None else round(further * TRILLION))
    assert ("log10 training tokens" in covariates(facts, None)) == (tokens is not None)


def test_a_sum_names_both_sources() -> None:
    source = _model("codellama-7b-hf").sources["training_tokens"]
    assert "500,000,000,000 more: Code Llama paper" in source
    assert "llama-2-7b-hf: meta-llama/llama-models" in source


def test_tokens_of_a_mixture_are_given_by_all_and_by_active_parameters() -> None:
    """DeepSeek-V3: 14.8 trillion tokens, 671 billion parameters, 37 billion active (its report)."""
    facts = _model("deepseek-v3")
    assert facts.tokens_per_param == pytest.approx(14.8e12 / 671e9, rel=0.01)
    assert facts.tokens_per_active_param == pytest.approx(14.8e12 / 37e9, rel=0.03)
    assert _model("llama-3.1-8b").tokens_per_active_param is None


def test_the_counts_are_shown_for_what_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    expected = {
        "biomistral-7b": "3,000,000,000 on top of its base's, whose own count is not known",
        "codellama-7b-hf": "2,500,000,000,000, 371 per parameter (Chinchilla: 20)",
        "deepseek-v3": "22 per parameter of all experts, ",
    }
    for model_id, text in expected.items():
        assert main(["catalog", "show", model_id]) == ExitCode.OK
        output = capsys.readouterr().out
        assert text in output
        assert ", 0 per parameter" not in output

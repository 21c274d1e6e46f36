"""Real weights from a folder, and every way in which a folder can be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial.checks import CHECKS
from fmkit.trial.child import run
from fmkit.trial.embedded import HELD_OUT_PATH, MODEL_PATH
from fmkit.trial.folder import require_safetensors
from fmkit.trial.request import ChildResult, TrialRequest


def attempt(folder: Path, *, prompt: str | None = "The process") -> ChildResult:
    config = json.loads((MODEL_PATH / "config.json").read_text(encoding="utf-8"))
    return run(
        TrialRequest(
            model="test",
            kind="decoder",
            config=config,
            folder=str(folder),
            dtype="float32",
            context_tokens=64,
            decode_steps=2,
            output_tokens=16,
            repeat=1,
            checks=tuple(CHECKS),
            prompt=prompt,
            held_out_path=str(HELD_OUT_PATH),
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL_PATH, tmp_path / "model"))


def test_real_weights_run_and_know_language(folder: Path) -> None:
    outcome = attempt(folder).outcome
    assert outcome is not None
    assert outcome.output
    checks = {check.name: check.passed for check in outcome.checks}
    assert checks["finite-logits"]
    assert checks["held-out-text"]


def test_without_a_tokenizer_it_still_measures(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    outcome = attempt(folder).outcome
    assert outcome is not None
    assert "can't be read" in outcome.output
    assert any("tokenizer" in warning for warning in outcome.warnings)


def test_corrupt_safetensors(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    failure = attempt(folder).failure
    assert failure is not None
    assert (failure.kind, failure.phase) == ("unsafe-input", "load")


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": config["hidden_size"] * 2}))
    failure = attempt(folder).failure
    assert failure is not None
    assert failure.phase == "load"
    assert failure.kind == "unsafe-input"


def test_pickled_weights_are_refused_by_child_and_parent(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    failure = attempt(folder).failure
    assert failure is not None
    assert failure.kind == "unsafe-input"
    with pytest.raises(UnsafeInputError, match="pickled"):
        require_safetensors(folder)


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights"):
        require_safetensors(tmp_path)


def write_index(folder: Path, *names: str) -> None:
    index = {"weight_map": {f"tensor.{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_missing_shards(tmp_path: Path) -> None:
    write_index(tmp_path, "model-1.safetensors", "model-2.safetensors")
    (tmp_path / "model-1.safetensors").touch()
    with pytest.raises(UsageError, match=r"1 of the weight files .* model-2"):
        require_safetensors(tmp_path)
    (tmp_path / "model-2.safetensors").touch()
    require_safetensors(tmp_path)


def test_an_index_may_not_leave_the_folder(tmp_path: Path) -> None:
    write_index(tmp_path, "../elsewhere.safetensors")
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(UnsafeInputError, match="outside the folder"):
        require_safetensors(tmp_path)


def test_an_index_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(UnsafeInputError, match="can't be read"):
        require_safetensors(tmp_path)

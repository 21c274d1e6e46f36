"""A config.json may hold anything: the answer is a spec or an FmkitError, and never takes long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmkit.errors import FmkitError
from fmkit.model.architectures import lineages, read
from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).parents[3]
CONFIGS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.sampled_from([2**31, 2**40, 2**40 + 1, 2**64, -(2**70), 10**4200])
    | st.floats()
    | st.sampled_from(["", "auto", "full_attention", "sliding_attention", "yarn", "float16", "llama", "t5", "x" * 300]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def samples() -> list[dict[str, Any]]:
    """One catalog or fixture config of each known model type, and an empty one of the types that the catalog lacks."""
    found: dict[str, dict[str, Any]] = {model_type: {"model_type": model_type} for model_type in sorted(lineages())}
    for path in (path for folder in CONFIGS for path in sorted(folder.glob("*.json"))):
        config = json.loads(path.read_text("utf-8"))
        if len(found.get(config.get("model_type"), range(9))) == 1:
            found[config["model_type"]] = config
    return list(found.values())


SAMPLES = samples()
FIELDS = sorted(
    {field for sample in SAMPLES for field in sample}
    | {field for sample in SAMPLES for nested in sample.values() if isinstance(nested, dict) for field in nested}
    | {
        "sliding_window_pattern",
        "layer_types",
        "rope_parameters",
        "partial_rotary_factor",
        "text_config_dict",
        "expand",
    }
)


def outcome(config: dict[str, Any]) -> tuple[ModelSpec | None, FmkitError | None]:
    try:
        return read(config, where="config.json"), None
    except FmkitError as error:
        return None, error


def spec_or_error(config: dict[str, Any]) -> None:
    spec, error = outcome(config)
    if error is not None:
        assert len(error.message) < 400
        assert error.where == "config.json"
    if spec is not None:
        assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec
        assert spec.params > 0


@settings(max_examples=400, deadline=2000, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SAMPLES),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
    st.sets(st.sampled_from(FIELDS), max_size=2),
)
def test_changed_fields(config: dict[str, Any], changes: dict[str, Any], removed: set[str]) -> None:
    changed = {key: value for key, value in config.items() if key not in removed}
    model_type = config["model_type"]
    spec_or_error({**changed, **changes, "model_type": changes.get("model_type", model_type)})


@settings(max_examples=200, deadline=2000, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([sample for sample in SAMPLES if any(isinstance(value, dict) for value in sample.values())]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3),
)
def test_changed_nested_fields(config: dict[str, Any], changes: dict[str, Any]) -> None:
    spec_or_error({key: {**value, **changes} if isinstance(value, dict) else value for key, value in config.items()})


@settings(max_examples=200, deadline=2000)
@given(st.sampled_from(sorted(lineages())), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=12))
def test_made_up_configs(model_type: str, config: dict[str, Any]) -> None:
    spec_or_error({**config, "model_type": model_type})


@settings(max_examples=50)
@given(VALUES)
def test_anything_at_all(config: Any) -> None:
    spec_or_error(config)

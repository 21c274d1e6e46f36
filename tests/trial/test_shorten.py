from __future__ import annotations

import pytest

from fmkit.errors import UsageError
from fmkit.trial.shorten import with_layers
from tests.trial.tiny import CONFIGS, trial


def test_text_of_a_vision_model_is_cut_and_its_tower_is_not() -> None:
    short = with_layers(CONFIGS["llava"][1], 1)
    assert short["text_config"]["num_hidden_layers"] == 1
    assert short["vision_config"]["num_hidden_layers"] == 2


def test_a_count_left_to_the_default_is_stated() -> None:
    assert with_layers({"model_type": "llava", "text_config": {}}, 3)["text_config"] == {"num_hidden_layers": 3}


def test_both_towers_of_clip() -> None:
    short = with_layers(CONFIGS["clip"][1], 1)
    assert short["text_config"]["num_hidden_layers"] == short["vision_config"]["num_hidden_layers"] == 1


def test_both_halves_of_an_encoder_decoder() -> None:
    short = with_layers(CONFIGS["bart"][1], 1)
    assert short["encoder_layers"] == short["decoder_layers"] == 1


def test_never_more_than_there_are_and_the_original_is_left_alone() -> None:
    config = {"num_hidden_layers": 2, "layer_types": ["a", "b"]}
    assert with_layers(config, 5) == {"num_hidden_layers": 2, "layer_types": ["a", "b"]}
    assert with_layers(config, 1)["layer_types"] == ["a"]
    assert config == {"num_hidden_layers": 2, "layer_types": ["a", "b"]}


def test_unknown_number_of_layers() -> None:
    with pytest.raises(UsageError, match="how many layers"):
        with_layers({"hidden_size": 8}, 1)


def test_a_short_model_runs() -> None:
    config = with_layers(CONFIGS["gemma3"][1], 1)
    assert trial("gemma3", config=config, checks=()).measured["cache"] == 2 * 2 * 16 * 32 * 4

from __future__ import annotations

from typing import Any

import pytest

from fmkit.errors import UsageError
from fmkit.selection.asking import Known, build_request
from fmkit.selection.request import Request, parse_weights, weights_of


@pytest.fixture
def known(build: Any) -> Known:
    return Known(
        licences=build.licences,
        families=("alpha", "llama-2", "llama-3.1"),
        precisions={"fp16": "fp16", "bf16": "fp16", "int8": "int8", "int4": "int4"},
        engines={"transformers": ("fp16", "int8", "int4")},
        languages=("en", "xh"),
    )


def ask(known: Known, **options: Any) -> Request:
    return build_request("chat", options, known, hardware_named=False)


def test_nothing_asked_is_the_default(known: Known) -> None:
    assert ask(known, context=None, open_only=False, language=[]) == Request(task="chat")


def test_values_are_read_as_people_write_them(known: Known) -> None:
    found = ask(
        known, context="32k", licence="permissive,llama3.1", language=["German", "pt-BR"], region="gb", max_ttft="300ms",
        precision="bf16,int4", weight="quality=1", requests_per_s=2, only="llama", modality="image",
    )  # fmt: skip
    assert found.context_tokens == 32768
    assert (found.licence_classes, found.licences) == (("permissive",), ("llama3.1",))
    assert found.languages == ("de", "pt-br")
    assert found.region == "UK"
    assert found.max_ttft_s == pytest.approx(0.3)
    assert found.precisions == ("fp16", "int4")
    assert found.requests_per_day == 172_800
    assert found.weights == {"quality": 1.0}
    assert found.only_families == ("llama-2", "llama-3.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"licence": "permisive"}, "nearest: permissive"),
        ({"licence": "foo"}, "permissive.*apache-2.0"),
        ({"only": "nofamily"}, "valid: alpha, llama-2"),
        ({"exclude": "zzz"}, "valid: alpha, llama-2"),
        ({"language": "xx"}, "unknown language 'xx'; .*xh"),
        ({"use": "comercial"}, "nearest: commercial"),
        ({"region": "Europe"}, "ISO country code"),
        ({"language": "Klingonese"}, "unknown language"),
        ({"modality": "smell"}, "unknown modality"),
        ({"precision": "fp61"}, "nearest: fp16"),
        ({"exclude": "lama"}, "nearest: llama"),
        ({"released_after": "next week"}, "can't read date"),
        ({"released_after": "2024-13"}, "can't read date"),
        ({"min_quality": 2}, "from 0 to 1"),
        ({"min_tokens_per_s": -1}, "above 0"),
        ({"sequences": 0}, "above 0"),
        ({"context": "many"}, "can't read length"),
        ({"max_ttft": "soon"}, "can't read duration"),
        ({"weight": "beauty=1"}, "unknown part of the score"),
        ({"weight": "quality=x"}, "can't read the weight"),
        ({"engine": "tgi"}, "unknown engine"),
        ({"api_only": True, "open_only": True}, "exclude each other"),
        ({"exclude": "llama", "only": "llama"}, "both excluded"),
        ({"requests_per_day": 1, "requests_per_s": 1}, "same twice"),
        ({"context": "1k", "prompt_tokens": "2k"}, "does not fit"),
    ],
)
def test_a_wrong_value_is_refused_with_help(known: Known, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask(known, **options)


def test_weights_sum_to_one_and_keep_what_was_not_given(build: Any) -> None:
    weights = weights_of(Request(task="chat", weights=parse_weights("quality=0.6,latency=0.8")), build.task())
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["latency"] > weights["quality"] > weights["memory"] > 0


def test_weights_that_are_all_zero_are_refused(build: Any) -> None:
    zero = dict.fromkeys(("quality", "latency", "memory", "licence", "cost"), 0.0)
    with pytest.raises(UsageError, match="all weights are zero"):
        weights_of(Request(task="chat", weights=zero), build.task())

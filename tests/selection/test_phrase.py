from __future__ import annotations

from typing import Any

import pytest

from fmkit.errors import UsageError
from fmkit.machine import Device
from fmkit.selection.device_names import device_spellings
from fmkit.selection.facts import Task
from fmkit.selection.phrase import is_phrase, parse_phrase
from fmkit.selection.task_names import known_task

DEVICES = {
    "rtx-4090": "rtx-4090",
    "geforce rtx 4090": "rtx-4090",
    "rtx 4090": "rtx-4090",
    "h100": "h100-sxm5-80gb",
    "4090": "rtx-4090",
}
FAMILIES = ("llama-2", "llama-3.1", "qwen3")


@pytest.fixture
def tasks(build: Any) -> dict[str, Task]:
    words = {
        "chat": ("chatbot", "assistant"),
        "summarisation": ("summarise", "summarize", "summary"),
        "code": ("programming",),
        "code-completion": ("code completion", "autocomplete"),
        "translation": ("translate",),
        "legal": ("contract", "legal"),
        "embedding": ("embed",),
        "ocr": (),
        "transcription": ("transcribe", "speech to text"),
    }
    return {
        name: build.task(id=name, name=name.capitalize(), words=found, domain="legal" if name == "legal" else None)
        for name, found in words.items()
    }


@pytest.mark.parametrize(
    ("text", "task", "options"),
    [
        ("chat on my RTX 4090", "chat", {"gpu": "rtx-4090"}),
        ("assistant on 2x H100", "chat", {"gpu": "h100-sxm5-80gb:2"}),
        ("chat under 8 GiB", "chat", {"memory": "8GiB"}),
        ("chat with 128k context", "chat", {"context": "128k"}),
        ("chat in German, commercial use", "chat", {"language": ["de"], "use": "commercial"}),
        ("non-commercial chat", "chat", {"use": "research"}),
        ("translate from English to French", "translation", {"language": ["en", "fr"]}),
        ("code completion with a permissive licence", "code-completion", {"licence": ["permissive"]}),
        ("summarize with Apache 2.0 models", "summarisation", {"licence": ["apache-2.0"]}),
        ("chat at least 20 tokens per second", "chat", {"min_tokens_per_s": 20.0}),
        ("chat, first token within 300 ms", "chat", {"max_ttft": "300ms"}),
        ("chatbot for 2 million users", "chat", {"monthly_users": 2_000_000}),
        ("chatbot for 20 000 users a month", "chat", {"monthly_users": 20_000}),
        ("chat for 100 users at once on two H100", "chat", {"sequences": 100, "gpu": "h100-sxm5-80gb:2"}),
        ("chat, 50 concurrent requests, for Germany", "chat", {"sequences": 50, "region": "EU"}),
        ("chat, 5k requests per day by API", "chat", {"requests_per_day": 5000, "api_only": True}),
        ("transcribe locally, fast", "transcription", {"here": True, "weight": ["latency=0.5"]}),
        (
            "open-source chat in the EU since 2025-01",
            "chat",
            {"open_only": True, "region": "EU", "released_after": "2025-01"},
        ),
        ("chat in int4", "chat", {"precision": ["int4"]}),
        ("OCR invoices on a 4090", "ocr", {"gpu": "rtx-4090"}),
        ("chat with 2x 4090", "chat", {"gpu": "rtx-4090:2"}),
        (
            "summarise legal contracts in German on a 24 GB card",
            "summarisation",
            {"memory": "24GiB", "language": ["de"], "domain": "legal"},
        ),
        ("chat without llama", "chat", {"exclude": ["llama"]}),
        ("chat without llama or qwen3 models", "chat", {"exclude": ["llama", "qwen3"]}),
        ("chat, only qwen", "chat", {"only": ["qwen"]}),
    ],
)
def test_what_a_phrase_says(tasks: dict[str, Task], text: str, task: str, options: dict[str, Any]) -> None:
    found = parse_phrase(text, tasks, DEVICES, FAMILIES)
    assert (found.task, found.options) == (task, options)
    assert set(found.options) <= set(found.understood)
    assert found.not_understood == ()


def test_what_was_not_understood_is_said(tasks: dict[str, Task]) -> None:
    found = parse_phrase("chat with quantum sparkle on my RTX 4090", tasks, DEVICES)
    assert found.not_understood == ("quantum", "sparkle")
    assert found.understood["gpu"] == "rtx 4090"


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("summarise contract texts", "summarisation"),
        ("contract summary", "summarisation"),
        ("a contract reader", "legal"),
        ("speech to text for my assistant", "transcription"),
        ("programming assistant", "code"),
        ("code completion in an editor", "code-completion"),
    ],
)
def test_the_task_named_first_wins_and_a_domain_last(tasks: dict[str, Task], text: str, task: str) -> None:
    assert parse_phrase(text, tasks, DEVICES).task == task


def test_a_phrase_without_a_task_lists_the_tasks(tasks: dict[str, Task]) -> None:
    with pytest.raises(UsageError, match="no task found"):
        parse_phrase("something nice please", tasks, DEVICES)


def test_one_word_must_be_a_task(tasks: dict[str, Task]) -> None:
    assert known_task("Code_Completion", tasks) == "code-completion"
    assert known_task("autocomplete", tasks) == "code-completion"
    with pytest.raises(UsageError, match="nearest: chat"):
        known_task("cht", tasks)
    assert is_phrase("two words")
    assert not is_phrase(" one ")


def test_devices_go_by_short_names_and_the_smallest_is_meant() -> None:
    def device(name: str, memory_bytes: int) -> Device:
        return Device(
            id="", name=name, vendor="v", device_class="datacentre", memory_bytes=memory_bytes, bandwidth_bytes_per_s=1
        )

    devices = {"h100-sxm-80gb": device("NVIDIA H100 SXM 80 GB", 80), "h100-nvl-94gb": device("NVIDIA H100 NVL 94 GB", 94),
               "apple-m3-max-36gb": device("Apple M3 Max, 36 GB", 36)}  # fmt: skip
    found = device_spellings(devices, {"hopper": "h100-nvl-94gb"})
    assert found["h100"] == "h100-sxm-80gb"
    assert found["h100 nvl"] == found["hopper"] == found["h100-nvl-94gb"] == "h100-nvl-94gb"
    assert found["m3 max"] == "apple-m3-max-36gb"


def test_a_number_alone_is_no_card(tasks: dict[str, Task]) -> None:
    assert "gpu" not in parse_phrase("chat for 4090 users", tasks, DEVICES).options
    assert "gpu" not in parse_phrase("chat with 4090 tokens", tasks, DEVICES).options


def test_an_amount_changes_nothing_and_is_said(tasks: dict[str, Task]) -> None:
    found = parse_phrase("embed 1 million documents", tasks, DEVICES)
    assert (found.task, found.options) == ("embedding", {})
    assert found.not_understood == ("1 million documents",)


def test_a_family_nobody_knows_is_said(tasks: dict[str, Task]) -> None:
    assert parse_phrase("chat without sparkle", tasks, DEVICES, FAMILIES).not_understood == ("without", "sparkle")

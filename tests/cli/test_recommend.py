from __future__ import annotations

import csv
import json
import subprocess
import sys
from io import StringIO

import pytest

from fmkit.cli.main import main

FORBIDDEN = ("torch", "transformers", "accelerate", "numpy", "pydantic", "huggingface_hub")


def test_json_is_one_object_and_always_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["recommend", "chat", "--gpu", "rtx-4090", "--license", "permissive", "--json"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    found = json.loads(first)
    assert found["schema"] == "fmkit.recommend/1"
    assert found["picks"][0]["licence"]["class"] == "permissive"
    assert set(found) >= {
        "catalog",
        "task",
        "understood",
        "constraints",
        "picks",
        "views",
        "excluded",
        "relax",
        "sensitivity",
    }


def test_a_person_gets_the_verdict_and_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "embedding", "--gpu", "rtx-4090", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("For embedding on")
    assert "next: fmkit vram" in printed.out
    assert "\x1b" not in printed.out
    assert printed.err == ""


def test_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "biomedical", "--gpu", "rtx-4090", "--json"]) == 0
    printed = capsys.readouterr()
    json.loads(printed.out)
    assert "not ranked" in printed.err


def test_csv_and_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "chat", "--gpu", "rtx-4090", "--csv", "--top", "3"]) == 0
    assert len(list(csv.DictReader(StringIO(capsys.readouterr().out)))) == 3
    assert main(["recommend", "chat", "--gpu", "rtx-4090", "--markdown", "--top", "3"]) == 0
    assert capsys.readouterr().out.count("\n| ") == 5  # header, rule and three models


def test_no_pick_is_an_answer_unless_checked(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["recommend", "chat", "--memory", "16MiB"]
    assert main(arguments) == 0
    assert "No model for chat" in capsys.readouterr().out
    assert main([*arguments, "--check"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cht"], "nearest: chat"),
        (["chat", "--licence", "permisive"], "nearest: permissive"),
        (["chat", "--gpu", "rtx-4099"], "rtx-4090"),
        (["chat", "--engine", "vlm"], "vllm"),
        (["chat", "--copies"], "--search"),
        (["chat", "--interactive"], "--interactive"),
        (["chat", "--json", "--csv"], "choose one"),
        (["quantum sparkle please"], "no task found"),
    ],
)
def test_a_wrong_question_exits_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; from fmkit.cli.main import main; "
        "main(['recommend', 'chat', '--gpu', 'rtx-4090', '--json', '--quiet']); "
        f"sys.stderr.write(' '.join(m for m in {FORBIDDEN!r} + ('rich',) if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""

"""The command line as a whole: help, version, errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import fmkit
from fmkit.cli import main as main_module
from fmkit.cli.main import COMMANDS, help_command, main
from fmkit.errors import ExitCode
from tests.cli.running import LEAVES, here
from tests.cli.running import fmkit as shell


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "--version")
    assert (answer.code, answer.out) == (0, f"fmkit {fmkit.__version__}\n")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for leaf in [[name] for name in COMMANDS] + LEAVES:
        answer = here(capsys, *leaf[:-1], "--help")
        assert answer.code == 0
        (line,) = re.findall(rf"\n  {leaf[-1]} .*", answer.out)
        assert not line.endswith("..."), "a summary that is cut at 60 columns"


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
@pytest.mark.parametrize("columns", [60, 100])
def test_help_of_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, leaf: list[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = here(capsys, *leaf, "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert f"Usage: fmkit {' '.join(leaf)}" in answer.out
    assert "--json" in answer.out
    assert "\x1b" not in answer.out


def test_lazy_loading_imports_only_the_command_asked_for() -> None:
    program = (
        "import sys; from fmkit.cli.main import main; code = main(['vram', '--help']);"
        "print(sorted(name for name in sys.modules if name.startswith('fmkit.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "fmkit.cli.vram" in done.stderr
    for other in ("recommend", "try_", "hardware", "catalog", "overview"):
        assert f"fmkit.cli.{other}'" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["vrm"], 2, "unknown command 'vrm'; nearest: vram"),
        (["--jsn"], 2, "unknown option '--jsn'; nearest: --json"),
        (["vram"], 2, "Missing argument 'MODEL'"),
        (["vram", "gpt2", "--contxt", "1k"], 2, "unknown option '--contxt'; nearest: --context"),
        (["vram", "gpt2", "--context"], 2, "Option '--context' requires an argument"),
        (["vram", "lama-3.1-8b"], 2, "llama-3.1-8b"),
        (["vram", "gpt2", "--context", "-5"], 2, "-5"),
        (["vram", "gpt2", "--context", "1.5"], 2, "can't read length '1.5'"),
        (["vram", "gpt2", "--context", "abc"], 2, "can't read length 'abc'"),
        (["vram", "gpt2", "--sequences", "0"], 2, "whole number"),
        (["vram", "gpt2", "--sequences", "1.5"], 2, "whole number"),
        (["vram", "gpt2", "--sequences", "abc"], 2, "whole number"),
        (["vram", "gpt2", "--sequences", "-1"], 2, "-1"),
        (["vram", "gpt2", "--precision", "fp17"], 2, "unknown precision 'fp17'; nearest: fp16"),
        (["vram", "gpt2", "--gpu", "rtx-4091"], 2, "nearest: rtx-4090"),
        (["vram", "gpt2", "--gpu", "rtx-4090:0"], 2, "rtx-4090:0"),
        (["vram", "gpt2", "--memory", "24"], 2, "can't read size '24'"),
        (["vram", "gpt2", "--memory", "24GiB", "--gpu", "rtx-4090"], 2, "exclude each other"),
        (["vram", "t5-base", "--engine", "llama.cpp"], 8, "GGUF file of 't5'"),
        (["vram", "gpt2", "--engine", "llama.cpp", "--engine-option", "block_size=16"], 2, "option of llama.cpp"),
        (["vram", "./nowhere.gguf"], 4, "no such file"),
        (["vram", "gpt2", "--engine", "vlm"], 2, "nearest: vllm"),
        (["vram", "gpt2", "--precision", "fp6"], 2, "unknown precision 'fp6'"),
        (["vram", "gpt2", "--attention", "sdp"], 2, "nearest: sdpa"),
        (["vram", "gpt2", "--json", "--csv"], 2, "choose one of --json, --csv"),
        (["vram", "./nowhere"], 4, "no such file or folder"),
        (["vram", "../../etc/no-such-file"], 4, "no such file or folder"),
        (["try", "./nowhere"], 4, "no such file or folder"),
        (["compare", "gpt2", "./nowhere"], 4, "no such file or folder"),
        (["catalog", "licence", "./nowhere"], 2, "unknown model or licence"),
        (["recommend", "chat", "--why-not", "./nowhere"], 2, "unknown model"),
        (["vram", "no/such/folder"], 2, "no Hub id"),
        (["vram", ""], 2, "name a model"),
        (["vram", " "], 2, "name a model"),
        (["vram", "a" * 5000], 2, "unknown model"),
        (["vram", "/dev/zero"], 10, "not a file"),
        (["vram", "gpt2", "--gpu", "banana"], 2, "rtx-2060-12gb and"),
        (["vram", "gpt2", "--gpu", "rtx-4090:99999999999"], 2, "from 1 to 1,024"),
        (["vram", "gpt2", "--sequences", "65537"], 2, "from 1 to 65,536"),
        (["vram", "gpt2", "--sequences", "1000000000000"], 2, "from 1 to 65,536"),
        (["vram", "gpt2", "--context", "9" * 20], 2, "the most is 1,099,511,627,776 tokens"),
        (["vram", "gpt2", "--context", "9" * 400], 2, "the most is 1,099,511,627,776 tokens"),
        (["vram", "gpt2", "--memory", "9" * 400 + "GiB"], 2, "the most is"),
        (["vram", "nobody/nothing", "--offline"], 5, "network is off"),
        (["hardware"], 2, "needs one of its commands: show, list"),
        (["catalog", "show", "gpt3"], 2, "gpt2"),
        (["recommend", "cht"], 2, "nearest: chat"),
        (["--json", "vram", "gpt2"], 2, "after the command"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_silly_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str) -> None:
    plain = here(capsys, *arguments)
    assert plain.code == code, plain.err
    if "--json" in arguments:
        assert message in plain.json()["message"]
        return
    assert message in plain.err
    assert "\n  next:  " in plain.err
    assert plain.out == ""
    if arguments == ["hardware"]:  # a group of commands has no --json of its own
        return
    machine = here(capsys, *arguments, "--json")
    error = machine.json()
    assert machine.code == code
    assert machine.err == ""
    assert list(error) == ["schema", "exit", "message", "where", "next"]
    assert (error["schema"], error["exit"]) == ("fmkit.error/1", code)
    assert error["next"]
    assert message in error["message"] or arguments[-1] == "--context"  # there --json is the value that was asked for


def test_malformed_config_names_file_and_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"model_type": ')
    answer = here(capsys, "vram", str(file), "--json")
    assert answer.code == 10
    assert answer.json()["where"] == str(file)
    assert "not JSON" in answer.json()["message"]


@pytest.mark.parametrize("command", [["vram"], ["try"], ["compare", "gpt2"]], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "code", "next_command"),
    [("", 4, "fmkit catalog list --local"), ("notes", 10, None), ("notes/weights.txt", 10, None), ("notes/x.gguf", 10, None)],
)  # fmt: skip
def test_a_path_that_holds_no_model_is_refused_with_the_next_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: list[str],
    name: str,
    code: int,
    next_command: str | None,
) -> None:
    """An empty folder, a folder with a file of weights that is none, a text, a GGUF file that is none; of texts the one asked for as `folder/name` too."""
    if name:
        (tmp_path / "notes").mkdir()
        for file in ("weights.txt", "x.gguf", "model.safetensors"):
            (tmp_path / "notes" / file).write_text("nothing of a model")
    monkeypatch.chdir(tmp_path)
    error = here(capsys, *command, name or ".", "--json").json()
    assert (error["exit"], error["next"]) == (code, next_command or f"fmkit {command[0]} --help")


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_the_help_that_a_refusal_names_is_that_of_its_command(leaf: list[str]) -> None:
    assert help_command([*leaf, "--gpu", "rtx-4090", "gpt2"]) == f"fmkit {' '.join(leaf)} --help"


def test_unknown_architecture_names_the_missing_fact(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    answer = here(capsys, "vram", str(tmp_path), "--json")
    assert answer.code == 8, answer.out
    assert answer.json()["message"]


def test_a_bug_is_named_and_never_shows_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main_module, "build_app", lambda names: {}[names])
    answer = here(capsys, "vram", "gpt2")
    assert answer.code == 1
    assert answer.err.startswith("fmkit: this is a bug in fmkit (KeyError")
    assert "Traceback" not in answer.err
    monkeypatch.setenv("FMKIT_DEBUG", "1")
    assert "Traceback" in here(capsys, "vram", "gpt2").err


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "vram", "\x1b[31mred")
    assert answer.code == 2
    assert "\x1b" not in answer.err


FULL = Path("/dev/full")
on_linux = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


@on_linux
@pytest.mark.parametrize("arguments", [["vram", "gpt2"], ["vram", "gpt2", "--json"], ["--version"], ["vram", "--help"]])
def test_a_full_disk_is_no_bug(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "fmkit", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "bug" not in done.stderr
    assert "Exception ignored" not in done.stderr


@on_linux
def test_an_error_that_stdout_does_not_take_goes_to_stderr() -> None:
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "fmkit", "vram", "lama-3.1-8b", "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert "nearest: llama-3.1-8b" in done.stderr


def test_a_fifo_is_not_waited_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in (tmp_path / "pipe", tmp_path / "config.json"):
        os.mkfifo(path)
    for path in (tmp_path / "pipe", tmp_path):
        answer = here(capsys, "vram", str(path))
        assert answer.code == ExitCode.UNSAFE_INPUT
        assert "not a file" in answer.err


def test_the_path_of_a_wrong_object_has_no_stray_dot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    facts = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 9,
    }
    config = {"model_type": "llama", "rope_scaling": "yes", "max_position_embeddings": 99, **facts}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "fmkit: rope_scaling is 'yes'" in here(capsys, "vram", str(tmp_path)).err


@pytest.mark.parametrize("arguments", [["catalog", "list"], ["hardware", "list"]])
@pytest.mark.parametrize("columns", [None, 40, 60, 80, 100, 200])
def test_a_list_has_one_line_per_record_that_begins_with_its_id(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], columns: int | None
) -> None:
    monkeypatch.delenv("COLUMNS")
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    records = here(capsys, *arguments, "--json").json()["models" if arguments[0] == "catalog" else "devices"]
    lines = here(capsys, *arguments).out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(records) + 1]] == [record["id"] for record in records]
    longest_id = max(len(record["id"]) for record in records)
    if columns is not None:
        assert max(map(len, lines)) <= max(columns, longest_id)
    else:
        assert lines[0].split()[-1] in {"licence", "name"}  # nothing was left out
        assert ".." not in "".join(lines[: len(records) + 1])


def test_interrupt_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(names: object) -> object:
        del names
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "build_app", interrupted)
    assert main(["vram", "gpt2"]) == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m fmkit catalog list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1


def test_no_colour_codes_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    answer = shell("vram", "gpt2", "--memory", "24GiB")
    assert answer.code == 0
    assert "\x1b" not in answer.out


def test_a_terminal_that_lacks_a_character_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert shell("catalog", "show", "gpt2").code == 0


def test_alone_names_four_models(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "--json")
    assert answer.code == 0
    found = answer.json()
    assert found["schema"] == "fmkit.overview/1"
    assert [model["task"] for model in found["models"]] == ["chat", "code", "embedding", "transcription"]
    assert all(model["next"].startswith("fmkit ") for model in found["models"])
    plain = here(capsys)
    assert plain.err == ""
    for model in found["models"]:
        assert model["next"] in plain.out or model["model"] is None


def test_public_api_is_lazy() -> None:
    program = (
        "import sys, fmkit; print(len([name for name in sys.modules if name.startswith('fmkit')])); print(fmkit.vram)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, function = done.stdout.splitlines()
    assert count == "1"
    assert "function vram" in function


def test_public_api_names() -> None:
    assert {"vram", "recommend", "try_model", "__version__"} <= set(dir(fmkit))
    with pytest.raises(AttributeError, match="nothing"):
        _ = fmkit.nothing


@pytest.mark.parametrize(
    "arguments", [["hardware", "show"], ["hardware", "list"], ["catalog", "list"], ["catalog", "show", "gpt2"]]
)
def test_json_is_one_object_and_repeatable(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    first = here(capsys, *arguments, "--json")
    assert first.code == 0
    assert first.json()["schema"].startswith("fmkit.")
    if arguments != ["hardware", "show"]:  # what is free now changes
        assert here(capsys, *arguments, "--json").out == first.out


def test_csv_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["hardware", "list", "--csv"], ["catalog", "list", "--csv"]):
        lines = here(capsys, *arguments).out.splitlines()
        assert lines[0].startswith("id,")
        assert len(lines) > 10


def test_catalog_check_passes(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "catalog", "check", "--json")
    assert answer.code == 0, answer.out
    assert json.loads(answer.out)["schema"] == "fmkit.catalog-check/1"


def test_catalog_list_filters(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "catalog", "list", "--task", "transcription", "--json")
    models = msgspec.json.decode(answer.out)["models"]
    assert models
    assert all("transcription" in model["tasks"] for model in models)
    assert here(capsys, "catalog", "list", "--task", "transcribe").code == 2
    assert here(capsys, "catalog", "list", "--family", "whispr").code == 2

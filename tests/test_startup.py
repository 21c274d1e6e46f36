"""A command imports nothing that it does not use: this is what keeps the start quick, and unlike a time it never flakes."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "transformers", "accelerate", "numpy", "pydantic", "huggingface_hub")
WITHOUT_RICH = (*FORBIDDEN, "rich", "yaml", "httpx", "httpx2")

PROGRAM = """
import sys
from fmkit.cli.main import main
code = main(sys.argv[1:])
sys.stdout.flush()
print(code, *sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def modules_after(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command line and the top-level modules it imported."""
    subprocess.run(
        [sys.executable, "-m", "fmkit", "catalog", "list"], check=True, capture_output=True
    )  # compiles the catalog
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    code, *modules = done.stderr.splitlines()[-1].split()
    return int(code), set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ("vram", "llama-3.1-8b", "--json"),
        ("vram", "llama-3.1-8b", "--gpu", "rtx-4090", "--fit", "--json"),
        ("recommend", "chat", "--gpu", "rtx-4090", "--json"),
        ("--json",),
        ("hardware", "show", "--json"),
        ("catalog", "show", "gpt2", "--json"),
        ("--version",),
    ],
    ids=" ".join,
)
def test_json_imports_neither_libraries_nor_rich(arguments: tuple[str, ...]) -> None:
    code, modules = modules_after(*arguments)
    assert code == 0
    assert "fmkit" in modules
    assert modules & set(WITHOUT_RICH) == set()


@pytest.mark.parametrize(
    "arguments", [("vram", "llama-3.1-8b"), ("recommend", "chat", "--gpu", "rtx-4090"), ("--help",)], ids=" ".join
)
def test_text_imports_no_library(arguments: tuple[str, ...]) -> None:
    code, modules = modules_after(*arguments)
    assert code == 0
    assert modules & set(FORBIDDEN) == set()

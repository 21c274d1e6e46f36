"""What quantising on a CPU leaves in the process, against models that were really loaded there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmkit.api.machines import this_machine
from fmkit.catalog.load import load_catalog
from fmkit.sizing.engines.transformers_heap import left_bytes, repacked_bytes
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate

LOADED = """
import ctypes, json, sys
import transformers
from fmkit.trial.random_weights import build_random
config = json.load(open(sys.argv[1]))
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc = ctypes.CDLL("libc.so.6")
libc.mallinfo2.restype = Heap
kind = getattr(transformers, config["architectures"][0])
build_random(kind, {**config, "n_layer": 1}, "float16", "cpu", sys.argv[2])  # imports are no part of it
libc.malloc_trim(0)
before = libc.mallinfo2().fordblks
model = build_random(kind, config, "float16", "cpu", sys.argv[2])
print(libc.mallinfo2().fordblks - before)
"""


def sized(context: int, precision: str = "int8") -> MemoryEstimate:
    catalog = load_catalog()
    spec, engine = catalog.model("gpt2").spec, catalog.engines["transformers"]
    assert spec is not None
    layout = catalog.layouts[engine.layouts[precision]]
    return estimate(spec, engine, layout, precision, Workload(context_tokens=context), this_machine(catalog))


def test_what_is_left_is_used_again() -> None:
    """The peak grows with the context by what does not fit into the free heap, and never falls."""
    short, long = sized(128), sized(1024)
    left = [sum(line.bytes for line in each.lines if line.phase == "load") for each in (short, long)]
    assert left[0] > left[1] > 0
    assert short.weights_bytes + short.cache_bytes < short.steady_bytes <= short.peak_bytes <= long.peak_bytes
    assert not [line for line in sized(128, "fp16").lines if line.phase == "load"]


def test_weights_packed_anew_for_a_cpu() -> None:
    """Counted in a trial of GPT-2 at nf4 (benchmarks/results/trials.json): double-quantised scales become 16 bit wide."""
    catalog = load_catalog()
    spec = catalog.model("gpt2").spec
    assert spec is not None
    assert repacked_bytes(spec, catalog.layouts["bnb-nf4-dq"]) == 1_257_216
    assert repacked_bytes(spec, catalog.layouts["bnb-nf4"]) == 0


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="the heap of glibc")
def test_a_loaded_model_leaves_that_much() -> None:
    pytest.importorskip("bitsandbytes")
    config = Path(__file__).parents[2] / "catalog" / "configs" / "openai-community--gpt2.json"
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(config), "bnb-int8"], check=True, capture_output=True, text=True
    )
    spec = load_catalog().model("gpt2").spec
    assert spec is not None
    predicted = left_bytes(spec, load_catalog().layouts["bnb-llm-int8"], "float16")
    assert 0.3 < int(done.stdout.split()[-1]) / predicted < 1.6

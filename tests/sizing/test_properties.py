"""What holds of every model of the catalog, in every engine, at every workload: searched for counterexamples."""

from __future__ import annotations

import contextlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fmkit.api.vram import vram
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.errors import FmkitError
from fmkit.machine import memory_machine
from fmkit.model.architectures import read
from fmkit.model.attention import CompressedAttention, FullAttention, SlidingAttention
from fmkit.model.layers import Mixer
from fmkit.model.spec import ModelSpec, Stack
from fmkit.results.vram import VramResult
from fmkit.sizing.estimate import Attention, MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB, format_bytes, format_tokens, parse_size, parse_tokens
from tests.configs import FOLDERS, beside_the_catalog

ENGINES = ("transformers", "vllm", "llama.cpp")
BY_BITS = ("int4", "int8", "fp16", "fp32")
ATTENTIONS: tuple[Attention, ...] = ("sdpa", "eager", "flash")
SEARCH = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def catalog() -> Catalog:
    return load_catalog()


@cache
def specs() -> tuple[ModelSpec, ...]:
    """Every model of the catalog, and those of the fixtures' configs that are known: all kinds of layer."""
    found = [spec for name in catalog().model_ids() if (spec := catalog().model(name).spec) is not None]
    for path in beside_the_catalog():
        with contextlib.suppress(FmkitError):
            found.append(read(json.loads(path.read_text("utf-8")), where=path.name))
    return tuple(found)


def spec_of(number: int) -> ModelSpec:
    """One of them, by any number."""
    return specs()[number % len(specs())]


def mixers_of(spec: ModelSpec) -> list[Mixer]:
    return [block.mixer for stack in spec.stacks for block in stack.blocks]


def sized(spec: ModelSpec, engine: str, precision: str, workload: Workload) -> MemoryEstimate | None:
    """The estimate on a card of 80 GiB; None where the engine has no rules for the model or no such precision."""
    rules = catalog().engines[engine]
    if precision not in rules.layouts:
        return None
    try:
        return estimate(
            spec, rules, catalog().layouts[rules.layouts[precision]], precision, workload, memory_machine(80 * GIB)
        )
    except FmkitError:
        return None


NUMBERS = st.integers(0, 2**20)
WORKLOADS = st.builds(
    Workload,
    context_tokens=st.integers(1, 300_000) | st.sampled_from([1, 2, 256, 4096, 4097, 131_072]),
    sequences=st.integers(1, 64),
    images=st.none() | st.integers(0, 3),
    attention=st.sampled_from(ATTENTIONS),
)


@SEARCH
@given(NUMBERS, st.sampled_from(ENGINES), NUMBERS, WORKLOADS)
def test_lines_sum_to_the_totals_and_the_bounds_hold_the_peak(
    number: int, engine: str, which: int, workload: Workload
) -> None:
    precisions = [name for name in catalog().engines[engine].layouts if name != "stored"]
    found = sized(spec_of(number), engine, precisions[which % len(precisions)], workload)
    assume(found is not None)
    assert found is not None
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    assert sum(line.bytes for line in found.lines if line.phase == "steady") == found.steady_bytes
    assert sum(line.bytes for line in found.lines if line.part.startswith("weights")) == found.weights_bytes
    steady_cache = (line for line in found.lines if line.part.startswith("cache") and line.phase == "steady")
    assert sum(line.bytes for line in steady_cache) == found.cache_bytes
    assert found.peak_bytes >= found.steady_bytes >= found.weights_bytes + found.cache_bytes > 0
    assert 0 <= found.low_bytes <= found.peak_bytes <= found.high_bytes
    assert all(line.bytes >= 0 and line.reason and line.source and line.formula for line in found.lines)
    assert msgspec.json.decode(msgspec.json.encode(found), type=MemoryEstimate) == found


@SEARCH
@given(NUMBERS, st.sampled_from(ENGINES), WORKLOADS, st.integers(0, 50_000), st.integers(0, 9))
def test_bytes_never_fall_as_context_or_sequences_rise(
    number: int, engine: str, workload: Workload, more: int, others: int
) -> None:
    spec = spec_of(number)
    assume(
        not any(isinstance(mixer, CompressedAttention) for mixer in mixers_of(spec))
    )  # tokens that wait are let go in runs
    found = sized(spec, engine, "fp16", workload)
    assume(found is not None)
    assert found is not None
    for changes in ({"context_tokens": workload.context_tokens + more}, {"sequences": workload.sequences + others}):
        grown = sized(spec, engine, "fp16", msgspec.structs.replace(workload, **changes))
        assert grown is not None
        assert grown.weights_bytes == found.weights_bytes
        assert grown.cache_bytes >= found.cache_bytes
        assert grown.peak_bytes >= found.peak_bytes


@SEARCH
@given(NUMBERS, st.sampled_from(ENGINES), WORKLOADS)
def test_bytes_never_fall_as_bits_rise(number: int, engine: str, workload: Workload) -> None:
    found = [each for name in BY_BITS if (each := sized(spec_of(number), engine, name, workload)) is not None]
    weights = [each.weights_bytes for each in found]
    caches = [each.cache_bytes for each in found]
    assert weights == sorted(weights)
    assert caches == sorted(caches)


def without_windows(spec: ModelSpec) -> ModelSpec:
    """The same model whose windows reach over everything."""

    def full(stack: Stack) -> Stack:
        blocks = []
        for block in stack.blocks:
            mixer = block.mixer
            if isinstance(mixer, SlidingAttention):
                same = {name: getattr(mixer, name) for name in FullAttention.__struct_fields__}
                mixer = FullAttention(**same)
            blocks.append(msgspec.structs.replace(block, mixer=mixer))
        return msgspec.structs.replace(stack, blocks=tuple(blocks))

    return msgspec.structs.replace(spec, stacks=tuple(full(stack) for stack in spec.stacks))


@SEARCH
@given(NUMBERS, st.sampled_from(("transformers", "llama.cpp")), WORKLOADS)
def test_a_window_never_costs_more_than_full_attention(number: int, engine: str, workload: Workload) -> None:
    """Of vLLM not: it pads the group of the rarer kind of layer, which can cost more than one group of all."""
    windowed = [spec for spec in specs() if any(isinstance(mixer, SlidingAttention) for mixer in mixers_of(spec))]
    spec = windowed[number % len(windowed)]
    with_windows, without = (sized(each, engine, "fp16", workload) for each in (spec, without_windows(spec)))
    assume(with_windows is not None and without is not None)
    assert with_windows is not None
    assert without is not None
    assert with_windows.cache_bytes <= without.cache_bytes


@given(st.integers(1, 2**20), st.integers(1, 300_000), st.integers(1, 4096))
def test_a_kind_with_a_window_never_keeps_more_than_one_without(window: int, tokens: int, heads: int) -> None:
    shape = {"query_heads": heads, "kv_heads": heads, "key_dim": 128, "value_dim": 128}
    full = FullAttention(**shape)
    assert SlidingAttention(**shape, window_tokens=window).cache_bytes(tokens, 0, 2) <= full.cache_bytes(tokens, 0, 2)


@given(st.integers(1, 2**40))
def test_a_length_is_read_as_it_is_printed(tokens: int) -> None:
    assert parse_tokens(format_tokens(tokens)) == tokens


@given(st.integers(1, 2**59))
def test_a_size_is_read_as_it_is_printed(size: int) -> None:
    printed = format_bytes(size)
    assert format_bytes(parse_size(printed)) == printed


SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=8)
    | st.sampled_from([0, -1, 2**31, 2**40, 2**64, -(2**70), 10**4200, "auto", "\ud800", "\x00", "full_attention", "1e999"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@cache
def samples() -> tuple[dict[str, Any], ...]:
    """One config of each model type of the fixtures and of the catalog."""
    found: dict[str, dict[str, Any]] = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.json")):
            config = json.loads(path.read_text("utf-8"))
            found.setdefault(str(config.get("model_type")), config)
    return tuple(found.values())


def asked(path: Path, engine: str) -> VramResult | FmkitError:
    try:
        return vram(str(path), engine=engine, context=[1, 5000], memory="24GiB", fit=True, offline=True)
    except FmkitError as error:
        return error


def answer_or_error(path: Path, content: bytes, engine: str) -> None:
    """Any file is answered, or refused with what is wrong and where; no other exception leaves."""
    path.write_bytes(content)
    found = asked(path, engine)
    if isinstance(found, FmkitError):
        assert 0 < len(found.message) < 500
        assert found.exit_code != 1
        return
    for each in found.estimates:
        assert 0 < each.weights_bytes <= each.peak_bytes
        assert each.low_bytes <= each.peak_bytes <= each.high_bytes
    msgspec.json.encode(found)


@st.composite
def changed_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A published config with fields removed, set to anything, or multiplied; its nested ones too."""
    config: dict[str, Any] = draw(st.sampled_from(samples()))
    fields = st.sampled_from(sorted(config))
    changed = {**config, **draw(st.dictionaries(fields, VALUES, max_size=3))}
    for name in draw(st.sets(fields, max_size=2)):
        changed.pop(name, None)
    for name, value in list(changed.items()):
        if isinstance(value, dict) and value and draw(st.booleans()):
            changed[name] = {
                **value,
                **draw(st.dictionaries(st.sampled_from(sorted(value, key=str)), VALUES, max_size=2)),
            }
        elif isinstance(value, int) and not isinstance(value, bool) and draw(st.integers(0, 9)) == 0:
            changed[name] = value * draw(st.sampled_from([-1, 0, 2, 1000]))
    return changed


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed_configs(), st.sampled_from(ENGINES))
def test_a_changed_config_is_sized_or_refused(tmp_path: Path, config: dict[str, Any], engine: str) -> None:
    content = json.dumps(config).encode()
    answer_or_error(tmp_path / "config.json", content, engine)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed_configs(), st.integers(0, 10**6), st.binary(max_size=4))
def test_a_damaged_file_is_sized_or_refused(tmp_path: Path, config: dict[str, Any], place: int, garbage: bytes) -> None:
    content = json.dumps(config).encode()
    place %= len(content)
    answer_or_error(
        tmp_path / "config.json", content[:place] + garbage + content[place + len(garbage) :], "transformers"
    )


def test_files_that_are_no_config_are_refused(tmp_path: Path) -> None:
    deep = b'{"model_type": "llama", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    nested = b'{"text_config": ' * 50_000 + b"{}" + b"}" * 50_000
    for content in (b"", b"[]", b"null", b"\xff\xfe{}", b'{"model_type": "\\ud800"}', b"{" + b" " * 10**6, deep, nested,
                    b'{"model_type": 1e400}', b'{"a": 1, "a": 2}', b"NaN", b'{"model_type": "llama", "hidden_size": NaN}'):  # fmt: skip
        for engine in ENGINES:
            answer_or_error(tmp_path / "config.json", content, engine)

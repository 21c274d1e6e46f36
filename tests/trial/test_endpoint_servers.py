"""What servers say of themselves, and trials at real ones: llama-server and `transformers serve`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from fmkit.api.try_model import try_model
from fmkit.errors import FmkitError, UsageError
from fmkit.trial.embedded import MODEL_PATH
from fmkit.trial.endpoint.address import parse_address
from fmkit.trial.endpoint.client import Deadlines, EndpointClient
from fmkit.trial.endpoint.generation import Dialect, generate
from fmkit.trial.endpoint.models import served_models
from fmkit.trial.endpoint.prompt import prompt_of
from fmkit.trial.endpoint.server import cache_usage, facts, identify
from tests.trial.gguf_models import small_spec, write_running_model
from tests.trial.openai_stand_in import StandIn, running_llama_server, tried


def told(models: list[dict[str, Any]], pages: dict[str, str]) -> Any:
    with StandIn(models=models, pages={path: body.encode() for path, body in pages.items()}) as server:
        client = EndpointClient(parse_address(server.url), Deadlines(answer_s=5))
        listed = served_models(client)
        assert listed is not None
        return facts(client, identify(client, listed), listed[0]), cache_usage(client)


def test_vllm_says_its_cache() -> None:
    lines = (
        'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="15393"} 1.0\n'
        'vllm:kv_cache_usage_perc{engine="0",model_name="org/tiny"} 0.25\n'
    )
    models = [{"id": "org/tiny", "owned_by": "vllm", "max_model_len": 8192}]
    found, usage = told(models, {"/metrics": lines, "/version": '{"version": "0.24.0"}'})
    assert (found.kind, found.version, found.max_context_tokens) == ("vllm", "0.24.0", 8192)
    assert (found.cache_tokens, usage) == (246_288, 0.25)
    newer = lines.replace("cache_dtype", 'kv_cache_size_tokens="123456",cache_dtype')
    assert told(models, {"/metrics": newer})[0].cache_tokens == 123_456
    assert told(models, {"/metrics": lines + lines.replace('engine="0"', 'engine="1"')})[0].cache_tokens is None
    absurd, usage = told(models, {"/metrics": lines.replace("15393", "9" * 70).replace("0.25", "7.5")})
    assert (absurd.cache_tokens, usage) == (None, None)


def test_other_servers_say_what_they_are() -> None:
    found, _ = told(
        [{"id": "a", "owned_by": "sglang"}],
        {"/get_server_info": '{"version": "0.5.1", "max_total_num_tokens": 9000, "api_key": "x"}'},
    )
    assert (found.kind, found.version, found.cache_tokens) == ("sglang", "0.5.1", 9000)
    found, _ = told(
        [{"id": "a", "owned_by": "a"}],
        {"/info": '{"model_id": "a", "version": "3.3.4", "max_total_tokens": 4096, "model_dtype": "float16"}'},
    )
    assert (found.kind, found.max_context_tokens, found.weights_type) == ("tgi", 4096, "float16")
    running = '{"models": [{"name": "a", "size": 6000, "size_vram": 5000, "context_length": 4096}]}'
    found, _ = told([{"id": "a", "owned_by": "library"}], {"/api/version": '{"version": "0.13.1"}', "/api/ps": running})
    assert (found.kind, found.version, found.memory_bytes, found.device_memory_bytes) == (
        "ollama",
        "0.13.1",
        6000,
        5000,
    )
    found, _ = told([{"id": "a"}], {"/info": '{"model_id": "a", "version": -1}', "/metrics": "x{" * 100_000})
    assert (found.kind, found.version, found.cache_tokens) == ("unknown", None, None)


def test_a_known_model_on_a_named_device_has_its_prediction_beside_it() -> None:
    models = [{"id": "chat", "root": "Qwen/Qwen2.5-7B-Instruct", "owned_by": "vllm"}]
    with StandIn(models=models) as server:
        result = tried(server, device="h100-sxm5-80gb")
    assert (result.hub_id, result.precision, result.machine.device_id) == (
        "Qwen/Qwen2.5-7B-Instruct", "fp16", "h100-sxm5-80gb",
    )  # fmt: skip
    assert result.predicted["weights"] == pytest.approx(2 * 7.6e9, rel=0.02)
    assert result.measured == {}
    assert result.speed.predicted["decode_tokens_per_s"]["low"] > 20


@pytest.fixture(scope="module")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    path = tmp_path_factory.mktemp("gguf") / "tiny-F16.gguf"
    write_running_model(path, small_spec("HuggingFaceTB--SmolLM2-135M-Instruct"), "F16")
    yield from running_llama_server(path)


@pytest.mark.full
def test_a_real_llama_server_agrees_with_its_own_clock(llama_server: str) -> None:
    client = EndpointClient(parse_address(llama_server))
    before = _clock(llama_server)
    one = generate(client, "any", prompt_of(200, 5), 64, Dialect(ignore_eos=True))
    after = _clock(llama_server)
    spent = {name: after[name] - before[name] for name in after}
    assert (one.prompt_tokens, one.output_tokens) == (spent["prompt_tokens_total"], 64)
    assert one.first_s == pytest.approx(spent["prompt_seconds_total"], rel=0.1)
    assert one.decode_tokens_per_s == pytest.approx(64 / spent["tokens_predicted_seconds_total"], rel=0.1)


@pytest.mark.full
def test_a_whole_trial_of_a_real_llama_server(llama_server: str) -> None:
    result = try_model(engine=llama_server, context=512, sequences=2, repeat=1, checks=["deterministic", "tool-call"])
    assert result.server is not None
    assert (result.engine.name, result.server.slots, result.server.max_context_tokens) == ("llama.cpp", 2, 2048)
    assert (result.server.api, result.server.token_count, result.server.weights_type) == ("chat", "usage", "F16")
    assert result.workload.timed_prompt_tokens == pytest.approx(448, rel=0.05)
    assert result.workload.timed_decode_tokens == 64
    assert result.checks[0].passed is True
    with pytest.raises(UsageError, match="the server's limit is 2k"):
        try_model(engine=llama_server, context="4k")


def _clock(address: str) -> dict[str, float]:
    """The counters of llama-server: tokens, and seconds spent on them."""
    with urlopen(address + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = dict(line.removeprefix("llamacpp:").split(" ", 1) for line in lines if line.startswith("llamacpp:"))
    names = ("prompt_tokens_total", "prompt_seconds_total", "tokens_predicted_seconds_total")
    return {name: float(found[name]) for name in names}


@pytest.mark.slow
def test_a_real_transformers_server(tmp_path: Path) -> None:
    for name in ("fastapi", "uvicorn", "openai"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: transformers serve needs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            result = try_model(
                str(MODEL_PATH), engine=f"http://127.0.0.1:{port}/v1", context=256, checks=["deterministic"]
            )
        finally:
            process.kill()
    assert result.server is not None
    assert (result.engine.name, result.server.api, result.server.token_count) == (
        "transformers",
        "completions",
        "usage",
    )
    assert result.workload.timed_prompt_tokens == pytest.approx(192, rel=0.05)
    assert result.checks[0].passed is True
    assert len(result.output.split()) > 20


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise FmkitError("the server did not start")

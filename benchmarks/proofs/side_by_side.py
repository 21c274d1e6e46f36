"""fmkit beside hf-mem and accelerate, each really run, on models of every kind, against what the implementation itself holds."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
import transformers

from benchmarks.peers.environment import python_with
from benchmarks.proofs.proof import Aim, Proof, Table
from fmkit.api.vram import vram
from fmkit.units import GIB, format_tokens
from tests.meta_model import instantiate
from tests.sizing import tracing
from tests.stand_in.content import Repository, literal, safetensors
from tests.stand_in.server import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
RUNNERS = ROOT / "benchmarks" / "peers"
HF_MEM, ACCELERATE = "hf-mem==0.5.6", "accelerate==1.15.0"
LIMIT_BYTES = 24 * GIB
"""Address space that a peer may use: accelerate's "empty" DeepSeek-V3 asks for 28 GiB of real memory."""
CONTEXTS = (4096, 32768, 131072)
FILLED_TOKENS = (256, 512)
"""Prompts that fill the cache of a model with a state: beyond, its growth per token is the same (attention) or nothing (the state)."""
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
NEAR = 0.02
SHORT = 60


class Case(msgspec.Struct, frozen=True):
    """One model: its config's file, and the context if only one is possible."""

    file: str
    context: int | None = None


CASES = (
    Case("meta-llama--Meta-Llama-3.1-8B"), Case("meta-llama--Meta-Llama-3.1-70B"), Case("Qwen--Qwen2.5-14B"),
    Case("mistralai--Mistral-7B-v0.1"), Case("google--gemma-2-9b"), Case("google--gemma-3-27b-it"), Case("deepseek-ai--DeepSeek-V3"),
    Case("mistralai--Mixtral-8x7B-v0.1"), Case("state-spaces--mamba-2.8b-hf"), Case("ai21labs--Jamba-v0.1"),
    Case("openai--whisper-large-v3", 448), Case("google-t5--t5-large"), Case("google-bert--bert-large-uncased", 512),
    Case("openai--clip-vit-large-patch14", 77), Case("llava-hf--llava-1.5-7b-hf"), Case("Qwen--Qwen3-Next-80B-A3B-Thinking"),
    Case("openai--gpt-oss-20b"),
)  # fmt: skip
STATES = ("mamba", "jamba", "qwen3_next")
ABOUT = (
    "hf-mem 0.5.6 and accelerate 1.15 run in environments of their own against a stand-in Hub on this machine, which serves each config "
    "and a safetensors header with the true tensors. Right is what transformers 5.23 itself holds: parameters and buffers of the class "
    "on the meta device at 16 bit; the modules that its own bitsandbytes integration replaces, at 1 byte a weight and 4 a row (int8) and "
    "at nf4 with double quantisation; and the cache that a traced forward pass of the whole model fills, one sequence. "
    "hf-mem answers for the type on disk only; accelerate has no cache; DeepSeek-V3 and gpt-oss are served as 16-bit copies."
)


def prove() -> Proof:
    """Ask all three, and the implementation."""
    configs = {case.file: config_of(case.file) for case in CASES}
    models = {file: instantiate(config) for file, config in configs.items()}
    repositories = [_repository(file, config, models[file]) for file, config in configs.items()]
    asked = [
        {"hub_id": hub_id(case.file), "context": tokens, "sequences": 1} for case in CASES for tokens in _contexts(case)
    ]
    with stand_in(repositories) as hub:
        theirs = _answers("run_hf_mem.py", python_with(HF_MEM), {"endpoint": hub.hub, "questions": asked}, hub.hub)
        names = [{"hub_id": hub_id(case.file)} for case in CASES]
        options = {"limit_bytes": LIMIT_BYTES, "questions": names}
        estimates = _answers(
            "run_accelerate.py", python_with(ACCELERATE, "transformers==5.23.0", "torch==2.13.0"), options, hub.hub
        )
    weights = tuple(
        {"model": case.file, "kind": "weights", **_weights(case, configs[case.file], models[case.file]),
         "hf-mem": next(found for found, question in zip(theirs, asked, strict=True) if question["hub_id"] == hub_id(case.file)),
         "accelerate": estimate}
        for case, estimate in zip(CASES, estimates, strict=True)
    )  # fmt: skip
    placed = [(case, tokens) for case in CASES for tokens in _contexts(case)]
    caches = tuple(
        {"model": case.file, "kind": "cache", "tokens": tokens, "right": filled_bytes(configs[case.file], tokens),
         "fmkit": _ours(case.file, "fp16", tokens).cache_bytes, "hf-mem": found}
        for (case, tokens), found in zip(placed, theirs, strict=True)
    )  # fmt: skip
    return Proof(name="side by side", about=ABOUT, aims=tuple(_aims(weights, caches)),
                 tables=tuple(_tables(weights, caches)), cases=(*weights, *caches))  # fmt: skip


def hub_id(file: str) -> str:
    """The id that a config's file is named after."""
    return file.replace("--", "/", 1)


def config_of(file: str) -> dict[str, Any]:
    """The config, as of a copy of the repository that is not quantised."""
    path = next(folder / f"{file}.json" for folder in FOLDERS if (folder / f"{file}.json").exists())
    config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    text = config.get("text_config")
    if isinstance(text, dict):
        text.pop("_name_or_path", None)  # hf-mem asks for that repository, which is not served
    return {key: value for key, value in config.items() if key not in ("quantization_config", "auto_map")}


def _contexts(case: Case) -> tuple[int, ...]:
    return CONTEXTS if case.context is None else (case.context,)


def _repository(file: str, config: dict[str, Any], model: Any) -> Repository:
    dtype = DTYPES[config.get("dtype") or config.get("torch_dtype") or "float32"]
    tensors = {name: (dtype, tuple(parameter.shape)) for name, parameter in model.named_parameters()}
    extra = {
        "library_name": "transformers",
        "config": {"architectures": config["architectures"], "model_type": config["model_type"]},
    }
    files = {"config.json": literal(config), "model.safetensors": safetensors(tensors)}
    return Repository(hub_id(file), files, extra=extra)


def _answers(script: str, python: Path, question: dict[str, Any], endpoint: str) -> list[dict[str, Any]]:
    environment = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(python.parents[1] / "hub"),
        "PATH": "",
    }
    done = subprocess.run(
        [str(python), str(RUNNERS / script)],
        input=json.dumps(question),
        env=environment,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _ours(file: str, precision: str, tokens: int) -> Any:
    found = vram(_reference(file), precision=precision, context=tokens, gpu="h100-sxm5-80gb", offline=True)
    return found.estimates[0]


def _reference(file: str) -> str:
    """The config's path: catalog and fixtures alike."""
    return str(next(folder / f"{file}.json" for folder in FOLDERS if (folder / f"{file}.json").exists()))


def _weights(case: Case, config: dict[str, Any], model: Any) -> dict[str, Any]:
    """Right and ours at 16, 8 and 4 bit."""
    tokens = _contexts(case)[0]
    ours = {precision: _ours(case.file, precision, tokens).weights_bytes for precision in ("fp16", "int8", "int4")}
    return {"right": right_weights(config, model), "fmkit": ours}


def right_weights(config: dict[str, Any], model: Any) -> dict[str, int]:
    """Bytes at 16 bit, LLM.int8 and nf4 with double quantisation, by the modules that transformers says it replaces."""
    half = "bfloat16" if "bfloat16" in (config.get("dtype"), config.get("torch_dtype")) else "float16"
    wide = set() if half == "bfloat16" else set(getattr(model, "_keep_in_fp32_modules", None) or ())
    parameters = {id(parameter): (name, parameter) for name, parameter in model.named_parameters()}
    rest = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    rest += sum(parameter.numel() * (4 if _kept(name, wide) else 2) for name, parameter in parameters.values())
    replaced = [model.get_submodule(name).weight for name in replaced_modules(model, wide)]
    plain = sum(2 * weight.numel() for weight in replaced)
    rows = sum(_rows(module) for module in (model.get_submodule(name) for name in replaced_modules(model, wide)))
    int8 = sum(weight.numel() for weight in replaced) + 4 * rows
    nf4 = sum(_nf4(weight.numel()) for weight in replaced)
    return {"fp16": rest, "int8": rest - plain + int8, "int4": rest - plain + nf4}


def _kept(name: str, patterns: set[str]) -> bool:
    return any(re.search(rf"(^|\.){re.escape(pattern)}(\.|$)", name) for pattern in patterns)


def _rows(module: Any) -> int:
    return int(
        module.weight.shape[1] if isinstance(module, transformers.pytorch_utils.Conv1D) else module.weight.shape[0]
    )


def _nf4(elements: int) -> int:
    """Half a byte a weight, a byte for each 64, 4 for each 256 of these, the two code books and the mean."""
    blocks = -(-elements // 64)
    return -(-elements // 2) + blocks + 4 * -(-blocks // 256) + 16 * 4 + 256 * 4 + 4


def replaced_modules(model: Any, kept: set[str]) -> list[str]:
    """The modules that transformers' bitsandbytes integration would replace."""
    from transformers.quantizers.base import get_keys_to_not_convert  # noqa: PLC0415
    from transformers.quantizers.quantizers_utils import should_convert_module  # noqa: PLC0415

    skipped = [*get_keys_to_not_convert(model), *kept]
    return [name for name, module in model.named_modules()
            if (isinstance(module, transformers.pytorch_utils.Conv1D) or type(module) is torch.nn.Linear)
            and should_convert_module(name, skipped)]  # fmt: skip


def filled_bytes(config: dict[str, Any], tokens: int) -> int:
    """Bytes of the cache that holds `tokens` tokens after a decode step, filled by the whole model with fake tensors."""
    if config["model_type"] in ("bert", "clip"):
        return 0
    if config["model_type"] in STATES:
        short, long = (_filled(config, count) for count in FILLED_TOKENS)
        return long + (long - short) * (tokens - FILLED_TOKENS[1]) // (FILLED_TOKENS[1] - FILLED_TOKENS[0])
    return _filled(config, tokens)


def _filled(config: dict[str, Any], tokens: int) -> int:
    ids = torch.ones(1, tokens - 1, dtype=torch.long)
    inputs = {"input_ids": ids}
    if config["model_type"] == "whisper":
        inputs = {
            "input_features": torch.zeros(1, config["num_mel_bins"], 3000, dtype=torch.bfloat16),
            "decoder_input_ids": ids,
        }
    elif config.get("is_encoder_decoder"):
        inputs = {"input_ids": torch.ones(1, tokens, dtype=torch.long), "decoder_input_ids": ids}
    return tracing.filled_cache_bytes(config, inputs, dtype=torch.bfloat16)[1]


def _aims(weights: tuple[dict[str, Any], ...], caches: tuple[dict[str, Any], ...]) -> Iterator[Aim]:
    for precision in ("fp16", "int8", "int4"):
        ours = [case["fmkit"][precision] / case["right"][precision] - 1 for case in weights]
        near = sum(abs(error) < NEAR / 100 for error in ours)
        yield Aim(
            f"fmkit: weights at {precision}, worst error of {len(ours)} models",
            "0",
            f"{max(ours, key=abs):+.3%}",
            near == len(ours),
        )
        key = {"fp16": "float16"}.get(precision, precision)
        theirs = [
            case["accelerate"][key] / case["right"][precision] - 1 for case in weights if key in case["accelerate"]
        ]
        yield Aim(
            f"accelerate: the same, of the {len(theirs)} it answered",
            "",
            f"{max(theirs, key=abs):+.1%}" if theirs else "-",
        )
    for name in ("fmkit", "hf-mem"):
        answers = [(case, _bytes(case[name], "cache")) for case in caches]
        exact = sum(found == case["right"] for case, found in answers)
        near = sum(found is not None and abs(found - case["right"]) <= NEAR * case["right"] for case, found in answers)
        yield Aim(f"{name}: caches right to the byte, within {NEAR:.0%}", "all" if name == "fmkit" else "",
                  f"{exact}, {near} of {len(caches)}", exact == len(caches) if name == "fmkit" else None)  # fmt: skip


def _bytes(answer: Any, key: str) -> int | None:
    if isinstance(answer, dict):
        found = answer.get(key)
        return found if isinstance(found, int) else None
    return int(answer)


def _tables(weights: tuple[dict[str, Any], ...], caches: tuple[dict[str, Any], ...]) -> Iterator[Table]:
    rows = []
    for case in weights:
        right, ours, hf_mem, accelerate = case["right"], case["fmkit"], case["hf-mem"], case["accelerate"]
        rows.append((
            hub_id(case["model"]).partition("/")[2], " / ".join(f"{right[p] / GIB:.2f}" for p in right),
            " / ".join(f"{ours[p] / right[p] - 1:+.2%}" for p in right), _said(_bytes(hf_mem, "weights"), right["fp16"], hf_mem),
            " / ".join(_said(accelerate.get(key), right[p], accelerate) for p, key in (("fp16", "float16"), ("int8", "int8"), ("int4", "int4")))
            if "failed" not in accelerate else _reason(accelerate),
        ))  # fmt: skip
    yield Table(
        "Weights in transformers at 16 bit / int8 / int4: right in GiB, and the error of each",
        ("model", "right", "fmkit", "hf-mem (on disk)", "accelerate"),
        tuple(rows),
    )
    yield Table(
        "Cache of one sequence in transformers: right in GiB, and the answers as multiples of it",
        ("model", "tokens", "right", "fmkit", "hf-mem"),
        tuple((hub_id(case["model"]).partition("/")[2], format_tokens(case["tokens"]), f"{case['right'] / GIB:.3f}",
               _times(case["fmkit"], case["right"], {}), _times(_bytes(case["hf-mem"], "cache"), case["right"], case["hf-mem"]))
              for case in caches),
    )  # fmt: skip


def _said(found: int | None, right: int, answer: dict[str, Any]) -> str:
    return f"{found / right - 1:+.1%}" if found is not None else _reason(answer)


def _times(found: int | None, right: int, answer: dict[str, Any]) -> str:
    if found is None:
        return _reason(answer)
    if right == 0:
        return "right" if found == 0 else f"{found / GIB:.2f} GiB"
    return "right" if found == right else f"x {found / right:.3g}"


def _reason(answer: dict[str, Any]) -> str:
    """Why there is no figure, short enough for a table; the whole of it is among the cases."""
    words = str(answer.get("failed", "no answer"))
    return words if len(words) <= SHORT else f"{words[:SHORT].rstrip()} ..."

"""transformers with accelerate: loads a folder or makes random weights, runs, and counts every byte that PyTorch allocates."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from fmkit.errors import UsageError
from fmkit.results.trial import EngineVersion
from fmkit.trial import devices, process_memory
from fmkit.trial.evidence import Evidence
from fmkit.trial.folder import require_safetensors
from fmkit.trial.items import Item, Reply, single_item
from fmkit.trial.loaded import NO_MEANING, Loaded, pass_flags
from fmkit.trial.notes import say
from fmkit.trial.observe.in_transformers import observe
from fmkit.trial.offload import loading_off_loaded, off_loaded_bytes
from fmkit.trial.quantised import REPACKED_ON_CPU, no_gradients, prepare, settings_for
from fmkit.trial.random_weights import build_random, parsed_config
from fmkit.trial.ranks.weights import hold_own_bytes, loading
from fmkit.trial.request import Timing, TrialRequest
from fmkit.trial.shorten import with_layers
from fmkit.trial.tasks import task_for
from fmkit.trial.tasks.base import cache_of, next_step, scores_of
from fmkit.trial.tracker import (
    AllocatorPeak,
    LiveStorages,
    storage_bytes,
    tensors_in,
    watching,
    weight_tensors,
)

LIBRARIES = ("torch", "transformers", "accelerate", "safetensors", "bitsandbytes", "torchao", "optimum-quanto")
COUNTED_AT_ONCE = 1024**2

WARM_UP_PARAMETERS = 128 * 1024**2
"""A one-layer model of the family larger than this is not built to warm up: a tiny one must do."""

AUTO_CLASSES = {
    "decoder": "AutoModelForCausalLM",
    "state-space": "AutoModelForCausalLM",
    "hybrid": "AutoModelForCausalLM",
    "encoder": "AutoModel",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "clip": "AutoModel",
    "vision-language": "AutoModelForImageTextToText",
    "speech": "AutoModelForSpeechSeq2Seq",
}
"""Where a config.json names no class that this transformers has: the automatic one for the kind."""

TINY = {
    "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 4, "vocab_size": 128,
}  # fmt: skip
"""Run once before the baseline. Projections with a bias and without: cuBLAS and cuBLASLt each take a workspace at their first call."""


class TransformersEngine:
    """One trial in transformers. Remote code and pickled weights are never loaded; the network is never used here."""

    def __init__(self, request: TrialRequest) -> None:
        self.request = request
        self.warnings: list[str] = []
        self._loaded: Loaded | None = None
        self._workspace_bytes = 0
        self._repacked_bytes = 0
        self._finite_share: float | None = None
        self._repeat_difference: float | None = None
        self._seen: Evidence | None = None
        quiet()
        devices.require(request.device)
        self._class = transformers_class(request)
        self._task = task_for(request.kind, self._class.__name__)
        self.task = self._task.name
        self.device = devices.described(request.device)
        if request.device in devices.NEVER_RUN:
            self.warnings.append(
                f"no trial of ours has run on {request.device}: what it reports was held against nothing yet"
            )

    @property
    def loaded(self) -> Loaded:
        """The model; `load` comes first."""
        assert self._loaded is not None
        return self._loaded

    @property
    def _ranks(self) -> int:
        """Processes that share the model."""
        return 1 if self.request.ranks is None else self.request.ranks.count

    def version(self) -> EngineVersion:
        """Versions of transformers and of what it rests on."""
        libraries = {"python": platform.python_version()}
        for name in LIBRARIES:
            try:
                libraries[name] = version(name)
            except PackageNotFoundError:
                continue
        return EngineVersion(name="transformers", version=libraries["transformers"], libraries=libraries)

    def warm_up(self) -> None:
        """Build and run one layer of the family (a tiny model if that is large): imports and first allocations are not the model's.

        A cold baseline charged about 100 MiB of lazily imported modules to the model.
        """
        if self.request.quantiser is not None:
            told = prepare(self.request.quantiser, self.request.device)
            self.warnings += [told] if told is not None else []
        tiny = _try_one_layer(self.request, self._class)
        with no_gradients(self.request.quantiser):
            if tiny is not None:
                task = task_for(self.request.kind, self._class.__name__)
                tokens = (self.request.image_tokens or 0) + 8
                tiny.run(**task.inputs(tiny, tokens))
            import transformers  # noqa: PLC0415

            small = build_random(transformers.Qwen2ForCausalLM, TINY, self.request.dtype, self.request.device)
            out = small(input_ids=torch.zeros((1, 8), dtype=torch.long, device=self.request.device), use_cache=True)
            del out
        del tiny, small
        _collect(self.request.device)
        if self.request.device in devices.WITH_PEAKS:
            self._workspace_bytes = devices.over_all(
                self.request.device, "memory_allocated"
            )  # cuBLAS keeps its workspace

    def load(self) -> None:
        """Random weights in place, or a folder's safetensors files."""
        request = self.request
        if request.folder is None:
            model = build_random(
                self._class, request.config, request.dtype, request.device, request.quantiser, ranks=self._ranks,
                off_loaded=request if request.offload else None,
            )  # fmt: skip
            self._loaded = Loaded(model, request)
        else:
            model = self._from_folder(Path(request.folder))
            self._loaded = Loaded(model, request, processor=self._processor(Path(request.folder)))
        if request.quantiser in REPACKED_ON_CPU and request.device == "cpu":
            self._repack()
        if request.device == "cpu" and request.dtype == "float16":
            self.warnings.append("float16 on a CPU is slow: most CPUs compute it by conversion; memory is unaffected")

    def _repack(self) -> None:
        """Make the first call, in which the quantiser packs its matrices anew for this CPU: that moment is the load's, not the prompt's."""
        before = storage_bytes(weight_tensors(self.loaded.model))
        inputs = self._task.inputs(self.loaded, (self.request.image_tokens or 0) + 8)
        with torch.no_grad():
            self.loaded.run(**inputs)
        after = storage_bytes(weight_tensors(self.loaded.model))
        if after != before:
            self._repacked_bytes = after - before
            self.warnings.append(
                f"bitsandbytes packed the 4-bit weights anew for this CPU at the first call: {after - before:+,} B, which are counted as activations"
            )

    def use(self, request: TrialRequest) -> None:
        """Take the workload of another request; the model stays loaded, and what the allocator kept of the last run goes back."""
        self.request = request
        self.loaded.request = request
        _collect(request.device)

    def recover(self) -> None:
        """Free what the failed workload held."""
        _collect(self.request.device)

    def reserved_bytes(self) -> int:
        """What the device's caching allocator holds now, over all devices."""
        if self.request.device not in devices.WITH_PEAKS:
            return 0
        return devices.over_all(self.request.device, "memory_reserved")

    def prefill_memory(self) -> dict[str, int]:
        """Bytes of weights, of the peak while the input is processed, and of the cache right after."""
        weights = list(weight_tensors(self.loaded.model))
        inputs = self._prompt(self.request.context_tokens)
        # not inference_mode: there composite operations run as one, and what they hold inside is not seen
        found = {"weights": storage_bytes(weights) - self._repacked_bytes, **off_loaded_bytes(self.loaded.model)}
        with torch.no_grad(), self._watching(weights, inputs.values()) as live:
            out = self.loaded.run(**inputs)
            found |= {"prefill_peak_bytes": live.peak_bytes, **_reserved(live)}
            if self._task.decodes:
                found["cache_after_prefill_bytes"] = cache_bytes(out)
            self._finite_share = _finite_share(scores_of(_text_part(out)))
            del out
        _collect(self.request.device)
        return found

    def decode_memory(self) -> dict[str, int]:
        """Bytes of the peak while one token is decoded with the cache as full as the request says, and of the cache after it."""
        tokens = self.request.context_tokens
        if not self._task.decodes or tokens < 2 or tokens - 1 <= (self.request.image_tokens or 0):
            return {}
        weights = list(weight_tensors(self.loaded.model))
        inputs = self._task.inputs(self.loaded, tokens - 1)
        token = self.loaded.token_ids(1, seed=2)
        ignored = [*inputs.values(), token]
        with torch.no_grad(), self._watching(weights, ignored) as live:
            out = self.loaded.run(**inputs)
            model, part = _decoder(self.loaded.model, out)
            step = next_step(part, token)
            del out, part
            live.reset_peak()
            process_memory.reset_peak()  # a real decoder comes here step by step, not with a prompt of this length
            done = model(**step, **pass_flags(model))
            found = {"decode_peak_bytes": live.peak_bytes, "cache": cache_bytes(done)}
            del done, step
        _collect(self.request.device)
        return found

    def _watching(
        self, weights: list[Any], ignored: Iterable[Any]
    ) -> AbstractContextManager[LiveStorages | AllocatorPeak]:
        return watching(weights, ignored, device=self.request.device, workspace_bytes=self._workspace_bytes)

    def timing(self) -> Timing:
        """Time to the first token and decoding speed of `repeat` runs; the first, untimed run warms caches and kernels.

        On a GPU that run decodes as many tokens as the timed ones: asking the driver for each new size of the cache halved the rate
        of the first run (H100). With `repeat` 0 nothing is timed.
        """
        if self.request.repeat == 0:
            return Timing()
        steps = min(self.request.decode_steps, max(1, self.request.context_tokens - 1)) if self._task.decodes else 0
        prompt = self._prompt(self.prompt_tokens)
        token = self.loaded.token_ids(1, seed=2)
        first_s, rates = [], []
        before = None
        for run in range(self.request.repeat + 1):
            with no_gradients(self.request.quantiser):
                started = _now(self.request.device)
                out = self.loaded.run(**prompt)
                taken_s = _now(self.request.device) - started
                scores = scores_of(_text_part(out)).float().clone()
                decoded = steps if run or self.request.device != "cpu" else 1
                decoded_s = self._decode(out, token, decoded) if steps else 0.0
            del out
            if before is not None:
                self._repeat_difference = max(self._repeat_difference or 0.0, float((scores - before).abs().max()))
            before = scores
            if run:  # the first one prepares kernels for these shapes
                first_s.append(taken_s)
                rates += [steps / decoded_s] if steps else []
        return Timing(ttft_s=tuple(first_s), decode_tokens_per_s=tuple(rates))

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the timed prompt: the context less the tokens decoded after it, so that both stay within the model's limit."""
        tokens = self.request.context_tokens
        return (
            max((self.request.image_tokens or 0) + 1, tokens - self.request.decode_steps, 1)
            if self._task.decodes
            else tokens
        )

    def _decode(self, out: Any, token: Any, steps: int) -> float:  # noqa: ANN401
        """Seconds to decode `steps` tokens of each sequence after `out`."""
        model, part = _decoder(self.loaded.model, out)
        step = next_step(part, token)
        flags = pass_flags(model)
        started = _now(self.request.device)
        for _ in range(steps):
            done = model(**step, **flags)
            again = next_step(done, token)
            step = {**step, **{name: again[name] for name in ("past_key_values", "cache_params") if name in again}}
        return _now(self.request.device) - started

    def answer(self) -> Reply:
        """The real output, or that there is none to expect."""
        if self.request.random_weights:
            return Reply(text=NO_MEANING)
        if self.loaded.processor is None:
            return Reply(text="(no tokenizer beside the weights: the output can't be read)")
        return self.reply(single_item(self.request))

    def reply(self, item: Item) -> Reply:
        """The answer to one input; the checks judge the first."""
        if self.loaded.processor is None:
            raise UsageError("there is no tokenizer beside the weights, and no input can be read without")
        seen = Evidence(task=self.task, random_weights=self.request.random_weights)
        self._seen = self._seen or seen
        with no_gradients(self.request.quantiser):
            return self._task.answer(self.loaded, seen, item)

    def record_predictions(self, path: Path) -> None:
        """Write the predictions for the text of `--reference`, or for the held-out text."""
        from fmkit.trial.observe.predictions import record  # noqa: PLC0415  only where two models are compared

        if self.loaded.processor is None:
            raise UsageError("there is no tokenizer beside the weights, and no text can be read without")
        text = self.request.reference_path or self.request.held_out_path
        assert text is not None
        record(self.loaded, Path(text), path)

    def evidence(self, checks: tuple[str, ...]) -> Evidence:
        """What the trial observed, and what else the checks named have to see."""
        seen = self._seen or Evidence(task=self.task, random_weights=self.request.random_weights)
        if self._task.name == "text generation" and not seen.random_weights and self.loaded.processor is not None:
            contexts = [self.request.context_tokens, *(cell.context_tokens for cell in self.request.further)]
            with no_gradients(self.request.quantiser):
                observe(self.loaded, seen, checks, contexts, say)
        shares = [share for share in (seen.finite_share, self._finite_share) if share is not None]
        seen.finite_share = min(shares, default=None)
        seen.repeat_difference = self._repeat_difference
        return seen

    def _prompt(self, tokens: int) -> dict[str, Any]:
        """The tensors a real use starts from: the whole prompt, or one token for the decoder of an encoder-decoder."""
        return self._task.inputs(self.loaded, tokens if self._task.prompt_is_context else 1)

    def _from_folder(self, folder: Path) -> Any:  # noqa: ANN401
        request = self.request
        require_safetensors(folder)
        dtype = getattr(torch, request.dtype)
        arguments: dict[str, Any] = {"dtype": dtype}
        if request.quantiser is not None:
            arguments["quantization_config"] = settings_for(request.quantiser, dtype)
        if self._ranks > 1:
            arguments |= loading(self._ranks)
        elif request.offload:
            arguments |= loading_off_loaded(request, self)
        elif request.device == "cuda":
            arguments["device_map"] = "auto" if torch.cuda.device_count() > 1 else {"": 0}
        elif request.device != "cpu":
            arguments["device_map"] = {"": request.device}
        model, info = self._class.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **arguments,
        )
        missing = sorted(info.get("missing_keys") or ())
        if missing:
            self.warnings.append(
                f"{len(missing)} tensors are missing from the files and random: {', '.join(missing[:3])}"
            )
        if self._ranks > 1:
            hold_own_bytes(model)
        return model.eval()

    def _processor(self, folder: Path) -> Any:  # noqa: ANN401
        """The processor or tokenizer beside the weights; None, with a warning, where there is none."""
        from transformers import AutoProcessor, AutoTokenizer  # noqa: PLC0415

        loader = AutoProcessor if self.request.kind in ("clip", "vision-language", "speech") else AutoTokenizer
        try:
            return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, ImportError, KeyError) as error:
            self.warnings.append(f"no usable tokenizer or processor in the folder: {first_line(error)}")
            return None


def cache_bytes(out: Any) -> int:  # noqa: ANN401
    """Bytes of the distinct storages that the cache in a model's output holds, whatever its class; counters are left out."""
    return storage_bytes(tensor for tensor in tensors_in(cache_of(_text_part(out))) if tensor.numel() > 1)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a sentence."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _reserved(live: LiveStorages | AllocatorPeak) -> dict[str, int]:
    """The most that the device's allocator took from the driver; nothing on a CPU."""
    return {"reserved_peak_bytes": live.reserved_peak_bytes} if isinstance(live, AllocatorPeak) else {}


def _text_part(out: Any) -> Any:  # noqa: ANN401
    """BLIP-2 nests the output of its language model in its own."""
    return getattr(out, "language_model_outputs", None) or out


def _decoder(model: Any, out: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """The module that goes on decoding after `out`, and the output it goes on from."""
    nested = getattr(out, "language_model_outputs", None)
    return (model.language_model, nested) if nested is not None else (model, out)


def _finite_share(scores: Any) -> float:  # noqa: ANN401
    """The share of finite values, counted piece by piece: a copy of all logits would be part of the process's peak."""
    pieces = scores.reshape(-1).split(COUNTED_AT_ONCE)
    finite = sum(int(torch.isfinite(piece).sum()) for piece in pieces)
    return finite / max(1, int(scores.numel()))


def transformers_class(request: TrialRequest) -> Any:  # noqa: ANN401
    """The class that config.json names, if this transformers has it, else the automatic class of the kind."""
    import transformers  # noqa: PLC0415

    named: Iterable[str] = request.config.get("architectures") or ()
    for name in named:
        found = getattr(transformers, name, None)
        if isinstance(found, type) and hasattr(found, "from_pretrained"):
            return found
    from transformers.models.auto import modeling_auto  # noqa: PLC0415

    automatic = getattr(modeling_auto, AUTO_CLASSES[request.kind])
    mapping = automatic._model_mapping  # noqa: SLF001  the only way to learn the class without building the model
    config = parsed_config(request.config)
    if type(config) not in mapping:
        raise ValueError(f"this transformers has no {request.kind} model for {request.config.get('model_type')!r}")
    found = mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _try_one_layer(request: TrialRequest, cls: Any) -> Loaded | None:  # noqa: ANN401
    """One layer of the family with random weights; None where that is large, or the family can't be cut."""
    try:
        config = with_layers(request.config, 1)
        with torch.device("meta"):
            parameters = sum(
                p.numel() for p in cls._from_config(parsed_config(config), dtype=torch.float16).parameters()
            )
        if parameters > WARM_UP_PARAMETERS:
            return None
        return Loaded(build_random(cls, config, request.dtype, request.device), request)
    except (UsageError, ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError):
        return None


def _now(device: str) -> float:
    """Seconds of a steady clock, after the device has finished what it was given."""
    devices.finish(device)
    return time.perf_counter()


def _collect(device: str) -> None:
    gc.collect()
    devices.give_back(device)


def quiet() -> None:
    """No progress bars and no advice from the libraries: the trial says what matters itself."""
    import logging  # noqa: PLC0415

    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

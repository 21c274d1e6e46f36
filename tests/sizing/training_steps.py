"""An independent witness for training: real models, real optimisers, two steps, and the most bytes alive in the second.

The loop is the Trainer's: forward under autocast where asked, the outputs let go, backward, optimiser, gradients set to None.
Used by tests and by benchmarks/training.py.
"""

from __future__ import annotations

import contextlib
import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch

from fmkit.trial.tracker import storage_bytes, watching, weight_tensors
from tests.sizing.tracing import build

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIGS = Path(__file__).parents[2] / "catalog" / "configs"
LAYER_KEYS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
)
WITH_HEAD = {
    "bert": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "bart": "BartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
}
IS_ENCODER = {"bert", "roberta"}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One training step to run: a config cut to a few layers and words, a recipe, a batch."""

    config: str
    method: str = "full"
    precision: str = "fp16"
    optimiser: str = "adamw"
    checkpointing: bool = False
    attention: str = "sdpa"
    targets: tuple[str, ...] = ("all-linear",)
    rank: int = 16
    sequences: int = 2
    tokens: int = 256
    layers: int = 2
    vocab: int | None = 4096
    changes: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """What the case is called in tables."""
        parts = [self.config.partition("--")[2], self.method, self.precision, self.optimiser]
        parts += ["checkpointing"] if self.checkpointing else []
        parts += [self.attention] if self.attention != "sdpa" else []
        parts += [",".join(self.targets)] if self.targets != ("all-linear",) else []
        return f"{' '.join(parts)} {self.sequences}x{self.tokens}"


class Measured(NamedTuple):
    """Bytes of a real step: what is held between steps, all gradients, and the peak with what is held."""

    weights_bytes: int
    adapter_bytes: int
    state_bytes: int
    gradient_bytes: int
    peak_bytes: int


def cut_config(case: Case) -> dict[str, Any]:
    """The config with its true widths, and few layers and words, so that blocks weigh as much as the vocabulary."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{case.config}.json").read_text(encoding="utf-8"))
    for key in LAYER_KEYS:
        if config.get(key):
            config[key] = min(config[key], case.layers)
    if config.get("layer_types"):
        config["layer_types"] = config["layer_types"][: case.layers]
    if case.vocab is not None:
        config["vocab_size"] = case.vocab
        config |= {key: 1 for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    if config["model_type"] in WITH_HEAD:
        config["architectures"] = [WITH_HEAD[config["model_type"]]]
    if config["model_type"] == "t5":
        config.setdefault("decoder_start_token_id", 0)
    return {**config, **case.changes}


def run(case: Case, folder: Path, *, device: str = "cpu") -> Measured:
    """Run two steps of the case and count the second; `folder` takes the weights of a model that is loaded quantised."""
    gc.collect()  # a model of an earlier case would be counted on a GPU
    torch.manual_seed(0)
    config = cut_config(case)
    dtype = (
        torch.float32
        if case.precision == "fp32" or (case.precision, case.method) == ("mixed", "full")
        else torch.bfloat16
    )
    if case.method == "qlora":
        model = _loaded_in_4bit(config, folder)
    else:
        with torch.device(device):
            model = build(config, dtype, None if case.attention == "sdpa" else case.attention)
    base = storage_bytes(weight_tensors(model))
    if case.method != "full":
        model = _with_adapters(model, case)
    model.train()
    if case.checkpointing:
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # renamed in 5.2x, the old name works in all
            model.gradient_checkpointing_enable()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = OPTIMISERS[case.optimiser](trained)
    ids = torch.ones(case.sequences, case.tokens, dtype=torch.long, device=device)
    batch = {"input_ids": ids, "labels": ids.clone()}
    if config["model_type"] not in IS_ENCODER:
        batch["use_cache"] = False
    step(model, batch, optimiser, case, device)
    states = [
        value for state in optimiser.state.values() for value in state.values() if isinstance(value, torch.Tensor)
    ]
    held = [*weight_tensors(model), *states]
    gradients = 0
    with watching(held, [value for value in batch.values() if isinstance(value, torch.Tensor)], device=device) as live:
        gradients = step(model, batch, optimiser, case, device)
    if device == "cuda":
        torch.cuda.empty_cache()
    outside = sum(
        value.nbytes for value in states if value.device.type != device
    )  # the counts of steps stay on the host
    return Measured(
        weights_bytes=base,
        adapter_bytes=sum(value.nbytes for value in trained) if case.method != "full" else 0,
        state_bytes=storage_bytes(states),
        gradient_bytes=gradients,
        peak_bytes=live.peak_bytes + outside - (workspace_bytes() if device == "cuda" else 0),
    )


def workspace_bytes() -> int:
    """What cuBLAS took of the caching allocator for itself: fmkit counts it as the runtime's."""
    before = torch.cuda.memory_allocated()
    torch._C._cuda_clearCublasWorkspaces()
    return int(before - torch.cuda.memory_allocated())


def step(model: Any, batch: dict[str, Any], optimiser: Any, case: Case, device: str) -> int:
    """One step; returns the bytes of all gradients."""
    with torch.autocast(device, dtype=torch.bfloat16) if case.precision == "mixed" else contextlib.nullcontext():
        loss = model(**batch).loss
    loss.backward()
    gradients: int = sum(value.grad.nbytes for value in model.parameters() if value.grad is not None)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return gradients


def _with_adapters(model: Any, case: Case) -> Any:
    import peft  # noqa: PLC0415  only where the case needs it

    targets = "all-linear" if case.targets == ("all-linear",) else list(case.targets)
    with warnings.catch_warnings(
        action="ignore", category=FutureWarning
    ):  # peft asks transformers by a name that 5.2x renamed
        return peft.get_peft_model(model, peft.LoraConfig(r=case.rank, target_modules=targets, lora_dropout=0.0))


def _loaded_in_4bit(config: dict[str, Any], folder: Path) -> Any:
    import transformers  # noqa: PLC0415  only where the case needs it

    build(config, torch.bfloat16, None).save_pretrained(folder)
    wanted = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    cls = getattr(transformers, config["architectures"][0])
    return cls.from_pretrained(folder, quantization_config=wanted, dtype=torch.bfloat16)


def _adafactor(parameters: Any) -> Any:
    from transformers.optimization import Adafactor  # noqa: PLC0415  only where the case needs it

    return Adafactor(parameters, lr=1e-3, scale_parameter=False, relative_step=False)


def _eight_bit(parameters: Any) -> Any:
    import bitsandbytes  # noqa: PLC0415  only where the case needs it

    return bitsandbytes.optim.AdamW8bit(parameters)


OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, fused=True),
    "adamw-foreach": lambda parameters: torch.optim.AdamW(parameters, foreach=True),
    "adamw-8bit": _eight_bit,
    "adafactor": _adafactor,
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9),
}
"""The real optimisers behind the names of `--optimizer`."""


def cases() -> Iterator[Case]:
    """The cases of the benchmark: architectures x recipes x optimisers, each recipe with all architectures before the next."""
    decoders = ("HuggingFaceTB--SmolLM2-360M-Instruct", "Qwen--Qwen3-0.6B", "google--gemma-3-1b-it")
    dropping = ("openai-community--gpt2", "google-bert--bert-base-uncased", "facebook--bart-base", "google-t5--t5-base")
    small = {"hidden_size": 768, "intermediate_size": 2048, "num_attention_heads": 12}
    cut = (
        ("mistralai--Mistral-7B-v0.1", {**small, "num_key_value_heads": 4}),
        ("microsoft--Phi-3-mini-4k-instruct", {**small, "num_key_value_heads": 12}),
        ("google--gemma-2-2b", {**small, "num_key_value_heads": 4}),
        ("mistralai--Mixtral-8x7B-v0.1", {**small, "num_key_value_heads": 4}),
    )
    for config in decoders:
        yield Case(config=config, optimiser="adafactor")
    for config in dropping:
        yield Case(config=config, precision="fp32")
    for config, changes in cut:
        yield Case(config=config, changes=changes, optimiser="sgd", sequences=4)
    for config in decoders:
        yield Case(config=config, method="lora")
        yield Case(config=config, precision="mixed", optimiser="sgd")
    for config in dropping:
        yield Case(config=config, checkpointing=True, optimiser="sgd", sequences=8)
    for config, changes in cut:
        yield Case(config=config, changes=changes, checkpointing=True, optimiser="adamw-8bit", sequences=4)
    for config in dropping:
        yield Case(config=config, method="lora", precision="fp32", sequences=4)
        yield Case(config=config, precision="mixed", optimiser="adamw-foreach", sequences=4)
    for config, changes in cut:
        yield Case(config=config, changes=changes, method="lora")
    for config in decoders:
        yield Case(config=config, checkpointing=True, optimiser="sgd-momentum", sequences=4)
        yield Case(config=config, method="lora", precision="mixed", targets=("q_proj", "v_proj"))
        yield Case(config=config, method="lora", checkpointing=True, sequences=4)
        yield Case(config=config, method="qlora", precision="int4", optimiser="adamw-8bit")
    yield Case(config=decoders[0], attention="eager", optimiser="sgd", tokens=512)
    yield Case(config=decoders[0], vocab=None, optimiser="adamw-foreach")


def gpu_cases() -> Iterator[Case]:
    """Whole models at the lengths people train at, for a card of 80 GB."""
    whole: dict[str, Any] = {"layers": 1000, "vocab": None, "tokens": 2048, "sequences": 4}
    llama, qwen = "meta-llama--Llama-3.2-1B-Instruct", "Qwen--Qwen3-0.6B"
    for config in (llama, qwen):
        yield Case(config=config, **whole)
        yield Case(config=config, optimiser="adamw-foreach", **{**whole, "sequences": 1, "tokens": 512})
        yield Case(config=config, precision="mixed", **whole)
        yield Case(config=config, checkpointing=True, **whole)
        yield Case(config=config, method="lora", **whole)
        yield Case(config=config, method="lora", checkpointing=True, **whole)
        yield Case(config=config, precision="fp32", **{**whole, "tokens": 1024, "sequences": 1})
    yield Case(
        config="meta-llama--Llama-3.1-8B-Instruct", method="lora", checkpointing=True, **{**whole, "sequences": 2}
    )
    yield Case(config="google--gemma-3-1b-it", **{**whole, "sequences": 2, "tokens": 1024})
    for config in (
        "openai-community--gpt2",
        "google-bert--bert-base-uncased",
        "facebook--bart-base",
        "google-t5--t5-base",
    ):
        yield Case(config=config, **{**whole, "tokens": 512, "sequences": 8})
        yield Case(config=config, precision="mixed", **{**whole, "tokens": 512, "sequences": 16})
    yield Case(config="microsoft--Phi-3-mini-4k-instruct", method="lora", **{**whole, "sequences": 1})

"""Quantised weights as transformers makes them: its own quantiser says which matrices, and packs one after the other.

To add a library: its entry in `QUANTISERS` (fmkit/trial/libraries.py), and the function that makes its configuration in `SETTINGS`.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from fmkit.errors import UsageError
from fmkit.trial.libraries import QUANTISERS, missing_quantiser

BNB: dict[str, dict[str, Any]] = {
    "bnb-int8": {"load_in_8bit": True},
    "bnb-nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "bnb-nf4-single": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "bnb-fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
}
"""Arguments of transformers' BitsAndBytesConfig."""


REPACKED_ON_CPU = ("bnb-nf4", "bnb-nf4-single", "bnb-fp4")
"""Weights that a CPU with AVX512 and bfloat16 has in another packing after the first call, with scales of 16 bit. As traced with 0.50.2."""


def prepare(quantiser: str, device: str) -> str | None:
    """Import the library before anything is measured; MissingExtraError where that fails. What the user has to know, if anything.

    optimum-quanto has compiled code only to unpack 4 bits on a CPU, and compiles it when it is first used.
    """
    _library(quantiser)
    if quantiser != "quanto-int4" or device != "cpu" or _is_built():
        return None
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        raise UsageError(
            "optimum-quanto unpacks 4 bits on a CPU with code that it compiles, and no C++ compiler was found",
            where="--precision int4-quanto",
            next_command="use --precision int8-quanto or nf4, or install g++",
        )
    torch.ops.quanto.unpack(torch.zeros(1, 1, dtype=torch.uint8), 4)
    return "optimum-quanto compiled its code for 4 bits on this CPU; from now on it is there"


def no_gradients(quantiser: str | None) -> AbstractContextManager[Any]:
    """The context that a model runs in: PyTorch's inference mode, which costs least, or without gradients where a library needs that.

    optimum-quanto unpacks 4 bits into tensors that it makes anew at each call, which PyTorch refuses to do in inference mode.
    """
    of_quanto = quantiser is not None and quantiser.startswith("quanto-")
    context: AbstractContextManager[Any] = torch.no_grad() if of_quanto else torch.inference_mode()
    return context


def settings_for(quantiser: str, dtype: Any) -> Any:  # noqa: ANN401
    """The transformers configuration of a quantiser; MissingExtraError where its library can't be imported here."""
    _library(quantiser)
    return SETTINGS[quantiser.partition("-")[0]](quantiser, dtype)


def _library(quantiser: str) -> Any:  # noqa: ANN401
    """The quantiser's library: optional, and native code that may not load."""
    name, _ = QUANTISERS[quantiser.partition("-")[0]]
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise missing_quantiser(quantiser, f"can't be imported here ({type(error).__name__})") from error


def _bitsandbytes(quantiser: str, dtype: Any) -> Any:  # noqa: ANN401
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    compute = {} if quantiser == "bnb-int8" else {"bnb_4bit_compute_dtype": dtype}
    return BitsAndBytesConfig(**BNB[quantiser], **compute)


def _torchao(quantiser: str, dtype: Any) -> Any:  # noqa: ANN401
    del dtype
    from transformers import TorchAoConfig  # noqa: PLC0415

    quantization = importlib.import_module("torchao.quantization")
    if quantiser == "torchao-int8":
        return TorchAoConfig(quantization.Int8WeightOnlyConfig())
    group = int(quantiser.rpartition("-g")[2])
    return TorchAoConfig(quantization.Int4WeightOnlyConfig(group_size=group))


def _quanto(quantiser: str, dtype: Any) -> Any:  # noqa: ANN401
    del dtype
    from transformers import QuantoConfig  # noqa: PLC0415

    return QuantoConfig(weights=quantiser.partition("-")[2])


SETTINGS: dict[str, Callable[[str, Any], Any]] = {"bnb": _bitsandbytes, "torchao": _torchao, "quanto": _quanto}
"""Makes the configuration of a quantiser of each library."""


class Packer:
    """Packs the matrices of a model without storage, one at a time, as `from_pretrained` would pack those of its files."""

    def __init__(self, model: Any, quantiser: str, dtype: Any) -> None:  # noqa: ANN401
        from transformers.quantizers.auto import AutoHfQuantizer  # noqa: PLC0415

        self._model = model
        self._quantiser = AutoHfQuantizer.from_config(settings_for(quantiser, dtype), pre_quantized=False)
        self._quantiser.validate_environment(device_map=None, dtype=dtype)
        self._quantiser.preprocess_model(model, dtype=dtype, device_map=None)

    def takes(self, name: str) -> bool:
        """Whether the parameter of that name becomes a quantised one."""
        return bool(self._quantiser.param_needs_quantization(self._model, name))

    def put(self, name: str, values: Any) -> None:  # noqa: ANN401
        """Give the parameter its packed `values`, which lie on the device that they are to stay on."""
        module = self._model.get_submodule(name.rpartition(".")[0])
        stored = values.T if _is_transposed(module) else values
        made = self._quantiser.get_quantize_ops().convert(
            {name: [stored]}, model=self._model, full_layer_name=name, missing_keys=set()
        )
        for key, value in made.items():
            module._parameters[key.rpartition(".")[2]] = value  # noqa: SLF001  register_parameter refuses names it finds


def _is_transposed(module: Any) -> bool:  # noqa: ANN401
    """Whether the files of the model hold this matrix the other way round: GPT-2's Conv1D."""
    return getattr(getattr(module, "source_cls", None), "__name__", "") == "Conv1D"


def _is_built() -> bool:
    """Whether optimum-quanto's code for a CPU was compiled before."""
    quanto = importlib.import_module("optimum.quanto")
    return any(Path(str(quanto.__file__)).parent.glob("library/extensions/cpp/build/*.so"))

"""Traces a transformers model: fake tensors have shapes and types and take no memory, and every storage they would take is counted.

The device is `cpu`, so attention takes the kernels it takes on a CPU. Equal to a run with real tensors to the byte in
tests/trial/test_trace.py. The meta device would not do: it takes the path without a fused kernel, up to 11 times too high.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter
from transformers.initialization import no_init_weights

from fmkit.errors import UsageError
from fmkit.trial.engines.transformers import quiet, transformers_class
from fmkit.trial.loaded import Loaded
from fmkit.trial.random_weights import parsed_config
from fmkit.trial.request import TrialRequest
from fmkit.trial.tasks import task_for
from fmkit.trial.tasks.base import next_step
from fmkit.trial.trace.request import TraceCell, Traced, TraceRequest
from fmkit.trial.tracker import LiveStorages


class FakeStorages(LiveStorages):
    """Live storages of fake tensors; stands in for one operation that has no rule for shapes in every type on a CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype is not torch.bfloat16:  # noqa: SLF001
            func, args, kwargs = _product_shape, args[:2], None
        return super().__torch_dispatch__(func, types, args, kwargs)


def _product_shape(rows: Any, matrices: Any) -> Any:  # noqa: ANN401
    """The result of a grouped matrix product, which PyTorch 2.13 checks for bfloat16 alone before it tells its shape."""
    return rows.new_empty(rows.shape[0], matrices.shape[-1])


def trace(request: TraceRequest, cell: TraceCell) -> Traced:
    """The peaks of one workload: a forward pass over the input, then a decode step on its cache."""
    started = time.perf_counter()
    quiet()
    asked = _as_trial(request, cell)
    cls = transformers_class(asked)
    task = task_for(request.kind, cls.__name__)
    attention = {"attn_implementation": "eager"} if request.eager else {}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        config = parsed_config(request.config)
        with no_init_weights():
            model = cls._from_config(config, dtype=getattr(torch, cell.dtype), **attention).eval()
        loaded = Loaded(model, asked)
        tokens = cell.context_tokens if task.prompt_is_context else 1
        given = task.inputs(loaded, tokens)
        known = [*model.parameters(), *model.buffers(), *(v for v in tree_iter(given) if isinstance(v, torch.Tensor))]
        with FakeStorages((), ignored=known) as live:
            out = loaded.run(**given)
            _sample(out)
            prefill, decode = live.peak_bytes, None
            if task.decodes:
                if not task.prompt_is_context:  # the decoder of an encoder-decoder: fill its cache first
                    out = loaded.run(**task.inputs(loaded, cell.context_tokens))
                step = next_step(out, torch.ones(cell.sequences, 1, dtype=torch.long))
                del out
                live.reset_peak()
                _sample(loaded.run(**step))
                decode = live.peak_bytes
    return Traced(prefill_bytes=prefill, decode_bytes=decode, took_s=time.perf_counter() - started)


def _sample(out: Any) -> None:  # noqa: ANN401
    """What generation does with a pass: the last token's logits, once in float32."""
    logits = getattr(out, "logits", None)
    if isinstance(logits, torch.Tensor) and logits.dim() == 3:
        logits[:, -1, :].to(dtype=torch.float32, copy=True)


def _as_trial(request: TraceRequest, cell: TraceCell) -> TrialRequest:
    if request.kind == "vision-language":
        raise UsageError("images can't be traced in this version: their tokens are found by value", where="--trace")
    return TrialRequest(
        model=request.model,
        kind=request.kind,
        config=request.config,
        dtype=cell.dtype,
        context_tokens=cell.context_tokens,
        encoder_tokens=cell.encoder_tokens,
        sequences=cell.sequences,
    )

"""What a model predicts at each position of a text: written by one process, compared in the next, so that two models never share memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial.evidence import Agreement
from fmkit.trial.items import read_text
from fmkit.trial.loaded import Loaded
from fmkit.trial.observe.scoring import last_logits, token_ids
from fmkit.trial.quantised import no_gradients
from fmkit.units import MIB

MOST_TOKENS = 512
MOST_FILE_BYTES = 512 * MIB
POSITIONS_AT_ONCE = 64
FLOAT32_BYTES = 4


def record(loaded: Loaded, text_path: Path, to: Path) -> None:
    """Write the log-probabilities of the whole vocabulary at each position of the text's beginning, in float32."""
    request = loaded.request
    ids = token_ids(loaded, read_text(text_path))
    vocabulary = int(loaded.text_config.vocab_size)
    room = min(MOST_TOKENS, request.context_tokens, max(1, MOST_FILE_BYTES // (FLOAT32_BYTES * vocabulary)))
    ids = ids[:, :room]
    if ids.shape[1] < 1:
        raise UsageError(f"{text_path.name} has no tokens", where="--reference")
    with no_gradients(request.quantiser):
        found = torch.log_softmax(last_logits(loaded, ids, ids.shape[1]).float(), dim=-1).cpu().contiguous()
    told = {"text": text_path.name, "against": request.dtype}
    save_file({"ids": ids.cpu().contiguous(), "log_probabilities": found}, str(to), metadata=told)


def compare(loaded: Loaded, path: Path) -> Agreement:
    """This model's predictions at the same positions against those in the file."""
    with safe_open(str(path), framework="pt") as file:
        told = file.metadata()
        ids = file.get_tensor("ids")
        theirs = file.get_slice("log_probabilities")
        logits = last_logits(loaded, ids, ids.shape[1])
        if list(theirs.get_shape()) != list(logits.shape):
            raise UnsafeInputError("the models have different vocabularies", where=path.name)
        parts = [
            divergence(theirs[start : start + POSITIONS_AT_ONCE], logits[start : start + POSITIONS_AT_ONCE].cpu())
            for start in range(0, ids.shape[1], POSITIONS_AT_ONCE)
        ]
    kl = torch.cat([part[0] for part in parts])
    same = torch.cat([part[1] for part in parts])
    return Agreement(
        mean_kl_nats=float(kl.mean()),
        kl_sd_nats=float(kl.std(unbiased=False)),
        top1_share=float(same.double().mean()),
        tokens=ids.shape[1],
        text=told["text"],
        against=f"the unquantised weights in {told['against']}",
    )


def divergence(full: Any, logits: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """KL(full || quantised) in nats at each position, and whether both think the same token likeliest.

    `full` are log-probabilities, `logits` the other model's; KL = sum_i p_i (ln p_i - ln q_i), in float64.
    """
    other = torch.log_softmax(logits.double(), dim=-1)
    full = full.double()
    return (full.exp() * (full - other)).sum(-1), full.argmax(-1) == other.argmax(-1)

"""One rank of a divided model, or a whole one, asked for what it computes: `python -m tests.trial.rank_outputs REQUESTS RESULTS`.

REQUESTS is a JSON list of trial requests, RESULTS a file for the answers by the requests' `model`: logits of a prompt, the tokens that
follow it when the likeliest is always taken, and the bytes of weights held.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec
import torch

from fmkit.trial.engines import open_engine
from fmkit.trial.ranks.group import Group
from fmkit.trial.request import TrialRequest
from fmkit.trial.tracker import storage_bytes, weight_tensors

PROMPT_TOKENS = 24
NEW_TOKENS = 16


def outputs(request: TrialRequest) -> dict[str, Any]:
    """What the model of a request computes in this process."""
    engine: Any = open_engine(request)
    engine.load()
    model = engine.loaded.model
    ids = engine.loaded.token_ids(PROMPT_TOKENS)
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        mask = torch.ones_like(ids)
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=None,
            pad_token_id=0,
        )
    return {
        "logits": logits,
        "tokens": written[0, PROMPT_TOKENS:].tolist(),
        "weights": storage_bytes(weight_tensors(model)),
    }


def main(requests_path: str, results_path: str) -> None:
    """Answer every request; what one can't do is said in its place."""
    requests = msgspec.json.decode(Path(requests_path).read_bytes(), type=list[TrialRequest])
    group = None
    if requests[0].ranks is not None:
        group = Group(requests[0])
        group.join()
    found: dict[str, Any] = {}
    for request in requests:
        try:
            found[request.model] = outputs(request)
        except Exception as error:  # noqa: BLE001  said by all ranks alike, and the next model may do
            found[request.model] = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    torch.save(found, results_path)
    if group is not None:
        group.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""transformers on one rank of a divided model: it has a device of its own, and the first exchange comes before the baseline."""

from __future__ import annotations

import os

import torch

from fmkit.trial.engines.transformers import TransformersEngine
from fmkit.trial.random_weights import build_random
from fmkit.trial.request import TrialRequest

HEAD_DIM = 16


class RankEngine(TransformersEngine):
    """One rank's trial. Weights are this rank's share, inputs and outputs are whole on every rank."""

    def __init__(self, request: TrialRequest) -> None:
        if request.device == "cuda" and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        super().__init__(request)

    def warm_up(self) -> None:
        """Run a tiny divided model first: neither the connections to the other ranks nor the imports are the model's."""
        self._run_tiny()
        super().warm_up()

    def _run_tiny(self) -> None:
        import transformers  # noqa: PLC0415

        request = self.request
        assert request.ranks is not None
        heads = request.ranks.count
        tiny = {
            "model_type": "qwen2", "hidden_size": heads * HEAD_DIM, "intermediate_size": heads * HEAD_DIM, "num_hidden_layers": 1,
            "num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": 128,
        }  # fmt: skip
        model = build_random(transformers.Qwen2ForCausalLM, tiny, request.dtype, request.device, ranks=heads)
        with torch.inference_mode():
            model(input_ids=torch.zeros((1, 8), dtype=torch.long, device=request.device), use_cache=True)

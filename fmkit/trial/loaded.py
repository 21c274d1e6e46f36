"""A loaded transformers model with what a task needs to feed it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch

from fmkit.trial.request import TrialRequest

NO_MEANING = "(random weights: the output means nothing)"


def pass_flags(model: Any) -> dict[str, Any]:  # noqa: ANN401
    """What `generate` asks of every pass, as far as the model knows it: the cache is kept, logits are computed for the last token alone."""
    accepted = inspect.signature(type(model).forward).parameters
    wanted = {"use_cache": True, "logits_to_keep": 1}
    return {name: value for name, value in wanted.items() if name in accepted}


@dataclass
class Loaded:
    """`processor` turns text, images and sound into tensors: a tokenizer or a processor, None with random weights."""

    model: Any
    request: TrialRequest
    processor: Any = None
    flags: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flags = pass_flags(self.model)

    @property
    def config(self) -> Any:  # noqa: ANN401
        """The model's configuration."""
        return self.model.config

    @property
    def text_config(self) -> Any:  # noqa: ANN401
        """The configuration of the part that reads text."""
        return self.config.get_text_config()

    @property
    def tokenizer(self) -> Any:  # noqa: ANN401
        """The tokenizer, inside a processor or alone; None with random weights."""
        return getattr(self.processor, "tokenizer", self.processor)

    @property
    def device(self) -> str:
        """Where inputs go."""
        return self.request.device

    def token_ids(self, count: int, seed: int = 0, *, avoid: tuple[int, ...] = ()) -> Any:  # noqa: ANN401
        """Random but fixed token ids, [sequences, count]; the ids in `avoid` stand for something else (an image)."""
        vocab = int(self.text_config.vocab_size)
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, vocab, (self.request.sequences, count), generator=generator)
        for token in avoid:
            ids[ids == token] = 0 if token else 1
        return ids.to(self.device)

    def noise(self, *shape: int) -> Any:  # noqa: ANN401
        """A random but fixed tensor in the model's type: a stand-in for pixels or a spectrogram."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(shape, generator=generator).to(getattr(torch, self.request.dtype)).to(self.device)

    def run(self, **inputs: Any) -> Any:  # noqa: ANN401
        """One forward pass."""
        return self.model(**inputs, **self.flags)

    def to_device(self, inputs: Any) -> dict[str, Any]:  # noqa: ANN401
        """What a processor made, on the model's device, floating point values in the model's type."""
        dtype = getattr(torch, self.request.dtype)
        return {
            name: (value.to(dtype) if value.is_floating_point() else value).to(self.device)
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor)
        }

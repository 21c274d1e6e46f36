"""The options of `fmkit vram --train`, apart from what they need: most calls are not about training, and import none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.sizing.training.recipe import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_RANK = 65_536
MOST_BATCH = 65_536


class TrainingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of training as they were given; None where they were not."""

    train: str | None = None
    optimizer: str | None = None
    lora_rank: int | None = None
    lora_targets: str | Sequence[str] | None = None
    checkpointing: bool = False
    train_batch: int | Sequence[int] | None = None

    def check_unused(self) -> None:
        """UsageError if one was given without `--train`."""
        for name in ("optimizer", "lora_rank", "lora_targets", "checkpointing", "train_batch"):
            if getattr(self, name):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{option} is about fine-tuning: say which with --train", where=option,
                    next_command=f"--train {', --train '.join(METHODS)}",
                )  # fmt: skip

"""The options of `fmkit vram` as they were given, and as a next command repeats them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fmkit.api.next_commands import given
from fmkit.api.training_options import TrainingOptions
from fmkit.errors import UsageError

NOT_REPEATED = ("training", "fit", "progress")
"""What a next command says in its own way, or does without."""

NOT_FOR_TRAINING = (
    "--engine", "--sequences", "--kv-dtype", "--engine-option", "--images", "--audio-seconds", "--trace", "--offload", "--tensor-parallel",
    "--pipeline-parallel", "--expert-parallel", "--throughput",
)  # fmt: skip


class VramOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The long options of `fmkit vram`, in the order in which a next command repeats them."""

    gpu: str | None = None
    memory: str | None = None
    free: bool = False
    engine: str = "transformers"
    engine_option: str | Sequence[str] | None = None
    kv_dtype: str | None = None
    precision: str | Sequence[str] | None = None
    context: str | int | Sequence[str | int] | None = None
    sequences: int | Sequence[int] | None = None
    encoder_tokens: int | str | None = None
    images: int | None = None
    audio_seconds: str | float | None = None
    attention: str = "sdpa"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: int = 1
    offload: str | bool | None = None
    trace: bool = False
    no_trials: bool = False
    throughput: bool = False
    electricity: float | str | None = None
    training: TrainingOptions
    fit: bool = False
    offline: bool = False
    progress: Callable[[str], None] | None = None

    def as_typed(self) -> dict[str, object]:
        """What was given, by the names it is typed by; `--train` and `--fit` are for who words the command."""
        training = {name: getattr(self.training, name) for name in self.training.__struct_fields__ if name != "train"}
        own = {name: getattr(self, name) for name in self.__struct_fields__ if name not in NOT_REPEATED}
        own |= {**training, "offline": own.pop("offline")}
        return given({f"--{name.replace('_', '-')}": value for name, value in own.items()})

    def refuse_beside_training(self) -> None:
        """UsageError for an option that says nothing of a step of training."""
        typed = self.as_typed()
        for option in NOT_FOR_TRAINING:
            if option in typed:
                raise UsageError(
                    f"{option} is not for training, which is sized in transformers on one device", where=option,
                    next_command="--train-batch N" if option == "--sequences" else f"leave out {option}",
                )  # fmt: skip

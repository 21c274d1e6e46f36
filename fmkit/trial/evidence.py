"""What a trial observed for its smoke checks. Plain numbers: the checks judge them without torch."""

from __future__ import annotations

import msgspec


class Evidence(msgspec.Struct, kw_only=True):
    """Observations; None where the trial did not look or could not.

    `finite_share` is the share of finite values in the model's output; `repeat_difference` the largest difference between two
    runs on the same input; `tokens` the generated ones (without prompt), `stopped` whether a stop token ended them.
    `bits_per_byte` is the model's cross-entropy on unseen text and `uniform_bits_per_byte` that of guessing each token with equal
    chance. Similarities are cosines: `symmetry_difference` between a pair and the same pair in the other order. `differing_share`
    is the part of an output after its first difference from a second one; `json_text` the answer where JSON was asked for, `tool_arguments`
    the arguments of the call where a tool was offered and called, `tool_text` what was said there. `unseen` says, by the name of the
    check, what the engine does not let us see.
    """

    task: str
    random_weights: bool
    finite_share: float | None = None
    repeat_difference: float | None = None
    tokens: list[int] | None = None
    stopped: bool | None = None
    bits_per_byte: float | None = None
    uniform_bits_per_byte: float | None = None
    symmetry_difference: float | None = None
    paraphrase_similarity: float | None = None
    unrelated_similarity: float | None = None
    has_chat_template: bool | None = None
    instruction_tuned: bool | None = None
    differing_share: float | None = None
    json_text: str | None = None
    tool_arguments: str | None = None
    tool_text: str | None = None
    unseen: dict[str, str] = {}

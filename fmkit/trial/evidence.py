"""What a trial observed for its checks. Plain numbers: the checks judge them without torch."""

from __future__ import annotations

import msgspec


class NeedlePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence hidden at `depth` (0 to 1) of a prompt that, with the answer, fills `context_tokens`."""

    context_tokens: int
    prompt_tokens: int | None
    depth: float
    retrieved: bool
    answer: str


class TextScore(msgspec.Struct, frozen=True, kw_only=True):
    """How well a text was predicted: negative log-likelihood in nats of `tokens` tokens, which stand for `text_bytes` bytes of `text`.

    `compressed_bits_per_byte` is what the xz compressor needs for the same text, `uniform_bits_per_byte` guessing each token evenly; None
    where nobody says how many tokens there are. `text` is the name of the text.
    """

    nats: float
    tokens: int
    text_bytes: int
    compressed_bits_per_byte: float
    uniform_bits_per_byte: float | None
    window_tokens: int
    stride_tokens: int
    text: str


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of two models over the same `tokens` positions: KL(unquantised || quantised) and equal likeliest tokens."""

    mean_kl_nats: float
    kl_sd_nats: float
    top1_share: float
    tokens: int
    text: str
    against: str


class WordErrors(msgspec.Struct, frozen=True, kw_only=True):
    """The edits between a reference of `words` words and what was said."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            words=self.words + other.words,
        )


class Evidence(msgspec.Struct, kw_only=True):
    """Observations; None where the trial did not look or could not.

    `finite_share` is the share of finite values in the model's output; `repeat_difference` the largest difference between two
    runs on the same input; `tokens` the generated ones (without prompt), `stopped` whether a stop token ended them.
    `bits_per_byte` is the model's cross-entropy on unseen text and `uniform_bits_per_byte` that of guessing each token with equal
    chance. Similarities are cosines: `symmetry_difference` between a pair and the same pair in the other order. `differing_share`
    is the part of an output after its first difference from a second one; `json_text` the answer where JSON was asked for, `tool_arguments`
    the arguments of the call where a tool was offered and called, `tool_text` what was said there, `tool_form` the form in which a
    call is parsed. `needle` has a point for each length and depth tried, of lengths up to `needle_asked_tokens`. `unseen` says, by the name of the check, what the engine does not let us see.
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
    tool_form: str = "the server parses"
    needle: tuple[NeedlePoint, ...] = ()
    needle_asked_tokens: int = 0
    text_score: TextScore | None = None
    agreement: Agreement | None = None
    word_errors: WordErrors | None = None
    unseen: dict[str, str] = {}

"""What llama-server's own interface tells of a text: the log-probability of a token that it is made to choose, one request for each.

It gives none of a prompt. But the log-probability beside a generated token is the model's own, before any bias or sampling
(b11549 tools/server: `post_sampling_probs` is off), so that a bias that leaves no choice makes the server tell it for any token. A prompt
that is longer by one token than the last one costs one step: the server keeps what it has read.

A token that is only a part of a character is held back together with its probability. Of these the whole distribution is asked for, beside
a token that is a letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from fmkit.errors import TrialFailedError
from fmkit.trial.endpoint.client import EndpointClient
from fmkit.trial.observe.served_text import CannotScoreError, ScoredText
from fmkit.units import MIB

T = TypeVar("T")

NO_CHOICE = 1e6
"""A bias that no logit of another token comes near."""
MOST_SCORED_TOKENS = 512
WHOLE_VOCABULARY = 2**20
"""More tokens than any vocabulary has: the server gives all of its own."""
MOST_DISTRIBUTION_BYTES = 256 * MIB
"""JSON of a whole vocabulary: about 100 bytes a token."""
LEAST_LOG_PROBABILITY = -104.0
"""ln of less than the smallest float32: of what rounds to 0 the server gives the lowest number there is."""


class _Piece(msgspec.Struct):
    id: int
    piece: str | list[int]

    @property
    def bytes(self) -> bytes:
        return self.piece.encode() if isinstance(self.piece, str) else bytes(self.piece)


class _Tokens(msgspec.Struct):
    tokens: list[_Piece]


class _Entry(msgspec.Struct):
    id: int
    logprob: float


class _Step(_Entry):
    top_logprobs: list[_Entry] = []


class _Completion(msgspec.Struct):
    completion_probabilities: list[_Step] = []


class LlamaServerScorer:
    """Scores texts at a llama-server, in its own tokens."""

    most_tokens = MOST_SCORED_TOKENS

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        self._letter: int | None = None

    def score(self, text: str, most_tokens: int) -> ScoredText:
        """As `TextScorer.score`: exact, one request a token."""
        pieces = self._pieces(text)[:most_tokens]
        ids = [piece.id for piece in pieces]
        nats = sum(-self._forced(ids[:place], ids[place]) for place in range(1, len(ids)))
        scored = b"".join(piece.bytes for piece in pieces[1:]).decode("utf-8", "ignore")
        if not text.startswith(scored):  # a space that some tokenizers put before a text's first word
            scored = scored.removeprefix(" ") if text.startswith(scored.removeprefix(" ")) else scored
        return ScoredText(nats=nats, tokens=len(ids) - 1, text=scored)

    def tokens(self, text: str) -> list[int]:
        """The text in the model's tokens, with the one that it begins texts with."""
        return [piece.id for piece in self._pieces(text)]

    def distributions(self, ids: list[int], vocabulary: int) -> Iterator[list[float]]:
        """After each of the tokens, the log-probability of every token of the vocabulary, by its number."""
        for end in range(1, len(ids) + 1):
            found = self._distribution(ids[:end])
            if found.keys() != set(range(vocabulary)):
                raise CannotScoreError(f"the server gives {len(found):,} of {vocabulary:,} log-probabilities")
            yield [max(LEAST_LOG_PROBABILITY, found[number]) for number in range(vocabulary)]

    def _pieces(self, text: str) -> list[_Piece]:
        asked = {"content": text, "add_special": True, "with_pieces": True}
        return self._asked("/tokenize", asked, _Tokens).tokens

    def _forced(self, before: list[int], token: int) -> float:
        """Ln p(token) after the tokens before it."""
        step = self._step(before, token, n_probs=1)
        value = self._distribution(before).get(token) if step is None else step.logprob
        if value is None or (step is not None and step.id != token):
            raise CannotScoreError("the server does not choose the token that it is made to choose")
        return max(LEAST_LOG_PROBABILITY, value)

    def _distribution(self, before: list[int]) -> dict[int, float]:
        """Ln p of every token after those before it, by their numbers."""
        if self._letter is None:
            self._letter = self.tokens("a")[-1]
        step = self._step(before, self._letter, n_probs=WHOLE_VOCABULARY)
        if step is None:
            raise CannotScoreError("the server gives no log-probability of the token that it chose")
        return {entry.id: entry.logprob for entry in step.top_logprobs}

    def _step(self, before: list[int], token: int, *, n_probs: int) -> _Step | None:
        """What is said of the token chosen by force; None where it is held back."""
        body = {
            "prompt": before,
            "n_predict": 1,
            "n_probs": n_probs,
            "logit_bias": [[token, NO_CHOICE]],
            "temperature": 0,
            "cache_prompt": True,
        }
        found = self._asked("/completion", body, _Completion).completion_probabilities
        return found[0] if len(found) == 1 else None

    def _asked(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        try:
            content = self._client.post(self._client.address.root + path, body, most_bytes=MOST_DISTRIBUTION_BYTES)
            return msgspec.json.decode(content, type=kind)
        except TrialFailedError as error:
            raise CannotScoreError(f"llama-server's {path} fails: {error.message}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CannotScoreError(f"llama-server's {path} answers with something else: {str(error)[:200]}") from error

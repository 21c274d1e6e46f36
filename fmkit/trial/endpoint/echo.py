"""Log-probabilities of a prompt as the older completions interface gives them: `echo` with `logprobs`. vLLM and SGLang have it."""

from __future__ import annotations

import msgspec

from fmkit.errors import TrialFailedError
from fmkit.trial.endpoint.client import EndpointClient, RefusedError
from fmkit.trial.endpoint.counts import Tokens
from fmkit.trial.observe.served_text import CannotScoreError, ScoredText
from fmkit.units import KIB

MOST_SCORED_TOKENS = 2048
CHARACTERS_PER_TOKEN = 4
"""Of English text in most tokenizers: the first guess at how much of a text fits."""
MOST_TRIES = 4
BYTES_PER_TOKEN = KIB
MIN_CHARACTERS = 16
NOT_OFFERED = "the server gives no probabilities of a text (`echo` with `logprobs` of /v1/completions); vLLM, SGLang and llama-server do"


class _LogProbabilities(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float | None]


class _Choice(msgspec.Struct):
    logprobs: _LogProbabilities | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens


class _Echo(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


class EchoScorer:
    """Scores texts at a server that echoes its prompt."""

    most_tokens = MOST_SCORED_TOKENS

    def __init__(self, client: EndpointClient, model: str) -> None:
        self._client = client
        self._model = model

    def score(self, text: str, most_tokens: int) -> ScoredText:
        """As `TextScorer.score`: one request, of a beginning of the text that is short enough; exact."""
        characters = CHARACTERS_PER_TOKEN * most_tokens
        for _ in range(MOST_TRIES):
            beginning = text if characters >= len(text) else text[:characters].rpartition(" ")[0] or text[:characters]
            found = self._echoed(beginning, most_tokens)
            if isinstance(found, ScoredText):
                return found
            characters = min(len(beginning), characters) // 2
            if characters < MIN_CHARACTERS:
                break
        raise CannotScoreError(NOT_OFFERED)

    def _echoed(self, text: str, most_tokens: int) -> ScoredText | None:
        """The score of all of the text; None where it is too long or refused."""
        body = {"model": self._model, "prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        path = f"{self._client.address.base}/completions"
        most_bytes = BYTES_PER_TOKEN * (len(text.encode()) + 16)  # no token is shorter than a byte
        try:
            found = msgspec.json.decode(self._client.post(path, body, most_bytes=most_bytes), type=_Echo)
        except RefusedError:
            return None
        except (TrialFailedError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CannotScoreError(NOT_OFFERED) from error
        if found.usage.prompt_tokens >= most_tokens:
            return None
        return _scored(found, text)


def _scored(found: _Echo, text: str) -> ScoredText:
    """The prompt's part of the answer. The first token has no probability, and may be one that is not in the text."""
    told = found.choices[0].logprobs if found.choices else None
    count = found.usage.prompt_tokens
    if told is None or len(told.token_logprobs) < count or len(told.tokens) != len(told.token_logprobs) or count < 2:
        raise CannotScoreError(NOT_OFFERED)
    first, *others = told.token_logprobs[:count]
    values = [value for value in others if value is not None and value <= 0]
    if first is not None or len(values) != len(others):
        raise CannotScoreError("the server's log-probabilities are not those of each token of the prompt")
    return ScoredText(nats=-sum(values), tokens=len(values), text=text.removeprefix(told.tokens[0]))

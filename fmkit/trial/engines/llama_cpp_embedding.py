"""Encoders in llama.cpp: a GGUF file whose answer to a text is a vector."""

from __future__ import annotations

import math
import time
from typing import Any

from fmkit.trial.engines.llama_cpp import LlamaCppEngine, answered
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply
from fmkit.trial.request import Timing

Vector = list[float]


class LlamaCppEmbedding(LlamaCppEngine):
    """One trial of an encoder: one pass over the inputs of all sequences, and nothing is decoded."""

    task = "embedding"

    def prefill_memory(self) -> dict[str, int]:
        """Buffers as logged, after one pass, so that the process has touched its pages."""
        self._pass()
        return self.buffers()

    def decode_memory(self) -> dict[str, int]:
        """Nothing: an encoder does not decode."""
        return {}

    def timing(self) -> Timing:
        """Seconds of `repeat` passes by this process's clock: of embeddings the server tells no times."""
        taken_s = []
        for _ in range(self.request.repeat):
            started = time.perf_counter()
            self._pass()
            taken_s.append(time.perf_counter() - started)
        return Timing(ttft_s=tuple(taken_s))

    def reply(self, item: Item) -> Reply:
        """The vectors, and the similarity of each text to the first."""
        texts = item.lines_or("sentences.txt")
        # one at a time: which texts share a batch is the server's choice, and changes the last digits
        vectors, again = ([self._vectors([text])[0] for text in texts] for _ in range(2))
        backwards = self._vectors(texts[::-1])[::-1]
        numbers = [number for vector in vectors for number in vector]
        seen = Evidence(
            task=self.task,
            random_weights=False,
            finite_share=sum(map(math.isfinite, numbers)) / len(numbers),
            repeat_difference=_most_apart(vectors, again),
        )
        self._seen = self._seen or seen
        count = "1 text as a vector" if len(texts) == 1 else f"{len(texts)} texts as vectors"
        lines = [f"{count} of {len(vectors[0])} numbers"]
        if len(texts) > 1:
            table = [[_dot(one, other) for other in vectors] for one in vectors]
            seen.symmetry_difference = _most_apart(
                table, [[_dot(one, other) for other in backwards] for one in backwards]
            )
            lines += [
                f"similarity {similarity:+.3f}: {text}"
                for similarity, text in zip(table[0][1:], texts[1:], strict=True)
            ]
            if item.is_packaged:
                seen.paraphrase_similarity, seen.unrelated_similarity = table[0][1:3]
        return Reply(text="\n".join(lines), asked=texts[0], data={"vectors": vectors})

    def settings(self, path: str) -> Any:  # noqa: ANN401
        """As for text, with a micro-batch that takes an input as a whole."""
        settings = super().settings(path)
        settings.embedding = True
        settings.n_ubatch = max(settings.n_ubatch, self.request.context_tokens)
        settings.n_batch = max(settings.n_batch, settings.n_ubatch)
        return settings

    def _pass(self) -> None:
        self._vectors(
            [self.prompt(sequence, self.request.context_tokens) for sequence in range(self.request.sequences)]
        )

    def _vectors(self, inputs: list[str] | list[list[int]]) -> list[Vector]:
        """A vector of length 1 for each input, text or tokens."""
        return [each["embedding"] for each in answered(self.server.handle_embeddings({"input": inputs}))["data"]]


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _most_apart(table: list[Vector], other: list[Vector]) -> float:
    """The largest difference between two tables of numbers, entry by entry."""
    rows = zip(table, other, strict=True)
    return max(abs(a - b) for one, two in rows for a, b in zip(one, two, strict=True))

"""Text generation: decoder-only and state-space models continue a text, encoder-decoders rewrite one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from fmkit.trial.evidence import Evidence
from fmkit.trial.loaded import Loaded

HELD_OUT_PASSAGES = 4
HELD_OUT_TOKENS = 512


class TextGeneration:
    """A prompt goes in, its continuation or the answer to it comes out."""

    name = "text generation"
    decodes = True
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """A prompt of `tokens` tokens in each sequence."""
        return {"input_ids": loaded.token_ids(tokens)}

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The continuation of the prompt, greedy, as text."""
        tokenizer = loaded.tokenizer
        prompt = loaded.text("text.txt")
        chat = bool(getattr(tokenizer, "chat_template", None))
        seen.has_chat_template = chat
        seen.instruction_tuned = chat or "instruct" in loaded.request.model.casefold()
        if chat:
            turns = [{"role": "user", "content": prompt}]
            given = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            given = tokenizer(prompt, return_tensors="pt")
        prompt_room = max(1, loaded.request.context_tokens - loaded.request.output_tokens)
        ids = given["input_ids"][:1, -prompt_room:].to(loaded.device)
        text = generate(loaded, seen, ids.shape[1], input_ids=ids, attention_mask=torch.ones_like(ids))
        if "held-out-text" in loaded.request.checks and loaded.request.held_out_path is not None:
            measure_held_out(loaded, seen, Path(loaded.request.held_out_path))
        return text


class Rewriting:
    """An encoder reads a text, a decoder writes another: summaries, translations."""

    name = "text to text"
    decodes = True
    prompt_is_context = False

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """An encoder input of the request's length and `tokens` decoder tokens."""
        encoder_tokens = max(1, loaded.request.encoder_tokens)
        return {"input_ids": loaded.token_ids(encoder_tokens), "decoder_input_ids": loaded.token_ids(tokens, seed=1)}

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """What the decoder writes for the text."""
        room = loaded.request.encoder_tokens or loaded.request.context_tokens
        given = loaded.tokenizer(loaded.text("article.txt"), return_tensors="pt", truncation=True, max_length=room)
        return generate(loaded, seen, 0, **loaded.to_device(given))


def generate(loaded: Loaded, seen: Evidence, prompt_tokens: int, **inputs: Any) -> str:  # noqa: ANN401
    """Generate greedily and note the tokens; `prompt_tokens` of the output are the prompt's and left out."""
    new_tokens = loaded.request.output_tokens
    out = loaded.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=new_tokens)
    tokens = [int(token) for token in out[0, prompt_tokens:]]
    stops = loaded.model.generation_config.eos_token_id
    stop_ids = set(stops) if isinstance(stops, list) else {stops}
    seen.stopped = bool(tokens) and tokens[-1] in stop_ids
    seen.tokens = tokens
    return str(loaded.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def measure_held_out(loaded: Loaded, seen: Evidence, path: Path) -> None:
    """Bits per byte of text the model has not seen, and what guessing each token evenly would need.

    bits per byte = -sum(log2 p(token)) / bytes of the tokens predicted, over the first passages of the file.
    """
    passages = path.read_text(encoding="utf-8").strip("\n").split("\n\n\n")[:HELD_OUT_PASSAGES]
    bits = uniform = 0.0
    count = 0
    for passage in passages:
        room = min(HELD_OUT_TOKENS, loaded.request.context_tokens)
        ids = loaded.tokenizer(passage, return_tensors="pt")["input_ids"][:, :room].to(loaded.device)
        logits = loaded.model(input_ids=ids).logits[0, :-1].float()
        chosen = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])
        bits -= float(chosen.sum()) / math.log(2)
        uniform += math.log2(logits.shape[-1]) * (ids.shape[1] - 1)
        count += len(loaded.tokenizer.decode(ids[0, 1:], skip_special_tokens=True).encode())
    if count:
        seen.bits_per_byte = bits / count
        seen.uniform_bits_per_byte = uniform / count

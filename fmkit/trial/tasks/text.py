"""Text generation: decoder-only and state-space models continue a text, encoder-decoders rewrite one."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from fmkit.errors import UsageError
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply, Turn
from fmkit.trial.loaded import Loaded

TAKES_PREFIX = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
"""Model types that are told what to do by the first words of the text."""
PREFIX = "summarize: "


class TextGeneration:
    """A prompt goes in, its continuation or the answer to it comes out."""

    name = "text generation"
    decodes = True
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """A prompt of `tokens` tokens in each sequence."""
        return {"input_ids": loaded.token_ids(tokens)}

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The answer to the turns or, without a chat template, the continuation of the text; greedy."""
        chat = has_template(loaded)
        seen.has_chat_template = chat
        seen.instruction_tuned = chat or "instruct" in loaded.request.model.casefold()
        turns = item.turns or (Turn(role="user", content=item.text_or("text.txt")),)
        ids = prompt_ids(loaded, turns)
        room = max(1, loaded.request.context_tokens - loaded.request.output_tokens)
        notes = []
        if ids.shape[1] > room:
            notes.append(
                f"the prompt has {ids.shape[1]:,} tokens, and only the last {room:,} were read: ask for more --context"
            )
        if len(turns) > 1 and not chat:
            notes.append("there is no chat template: the messages were put one after the other")
        ids = ids[:, -room:].to(loaded.device)
        shown = item if item.turns else msgspec.structs.replace(item, text=turns[0].content)
        reply = generate(loaded, seen, ids.shape[1], shown.shown(), input_ids=ids, attention_mask=torch.ones_like(ids))
        return msgspec.structs.replace(reply, notes=tuple(notes))


class Rewriting:
    """An encoder reads a text, a decoder writes another: summaries, translations."""

    name = "text to text"
    decodes = True
    prompt_is_context = False

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """An encoder input of the request's length and `tokens` decoder tokens."""
        encoder_tokens = max(1, loaded.request.encoder_tokens)
        return {"input_ids": loaded.token_ids(encoder_tokens), "decoder_input_ids": loaded.token_ids(tokens, seed=1)}

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """What the decoder writes for the text: in which language, where the line says one and the tokenizer knows it."""
        room = loaded.request.encoder_tokens or loaded.request.context_tokens
        text = item.text_or("article.txt")
        if item.is_packaged and loaded.config.model_type not in TAKES_PREFIX:
            text = text.removeprefix(PREFIX)
        if item.source_language is not None:
            loaded.tokenizer.src_lang = item.source_language
        whole = loaded.tokenizer(text, return_tensors="pt")
        given = loaded.tokenizer(text, return_tensors="pt", truncation=True, max_length=room)
        length = whole["input_ids"].shape[1]
        notes = (f"the text has {length:,} tokens, and only the first {room:,} were read",) if length > room else ()
        forced = {} if item.target_language is None else {"forced_bos_token_id": _language(loaded, item)}
        shown = msgspec.structs.replace(item, text=text).shown()
        reply = generate(loaded, seen, 0, shown, **loaded.to_device(given), **forced)
        return msgspec.structs.replace(reply, input_tokens=min(length, room), notes=notes)


def _language(loaded: Loaded, item: Item) -> int:
    """The token that a multilingual decoder begins a language with, by the tokenizer's own code, such as fra_Latn."""
    tokenizer, code = loaded.tokenizer, item.target_language
    token = tokenizer.convert_tokens_to_ids(code)
    if isinstance(token, int) and token not in (None, tokenizer.unk_token_id):
        return token
    raise UsageError(f"line {item.line}: the tokenizer does not know the language {code!r}", where="target_language")


def has_template(loaded: Loaded) -> bool:
    """Whether the tokenizer writes chats."""
    return bool(getattr(loaded.tokenizer, "chat_template", None))


def prompt_ids(loaded: Loaded, turns: tuple[Turn, ...], **options: Any) -> Any:  # noqa: ANN401
    """The tokens of a chat in the model's own template or, without one, of the texts one after the other; [1, tokens]."""
    tokenizer = loaded.tokenizer
    if not has_template(loaded):
        return tokenizer("\n".join(turn.content for turn in turns), return_tensors="pt")["input_ids"]
    said = [{"role": turn.role, "content": turn.content} for turn in turns]
    given = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_tensors="pt", return_dict=True, **options
    )
    return given["input_ids"]


def generate(
    loaded: Loaded,
    seen: Evidence,
    prompt_tokens: int,
    asked: str,
    *,
    max_new_tokens: int | None = None,
    **inputs: Any,  # noqa: ANN401
) -> Reply:
    """Generate greedily and note the tokens; `prompt_tokens` of the output are the prompt's and left out."""
    most = loaded.request.output_tokens if max_new_tokens is None else max_new_tokens
    out = loaded.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=most)
    tokens = [int(token) for token in out[0, prompt_tokens:]]
    seen.stopped = bool(tokens) and tokens[-1] in stop_ids(loaded)
    seen.tokens = tokens
    text = str(loaded.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
    return Reply(text=text, asked=asked, input_tokens=prompt_tokens or None, output_tokens=len(tokens))


def stop_ids(loaded: Loaded) -> set[int]:
    """The tokens that end a text, as the model's generation settings name them."""
    stops = loaded.model.generation_config.eos_token_id
    return set(stops) if isinstance(stops, list) else {stops} - {None}

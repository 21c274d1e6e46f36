"""A real transformers model, one layer deep, that says given words after any prompt and then stops, or never stops.

Its embeddings are unit vectors, its layer adds nothing, and its output matrix says of each word which one comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from fmkit.results.trial import Check
from fmkit.trial.checks import run_checks
from fmkit.trial.engines.transformers import TransformersEngine
from fmkit.trial.request import TrialRequest

START, END = "assistant", "</s>"
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
)
TOOLS = "{% if tools %}{{ tools | tojson }} {% endif %}"
CALLS = (
    "{% for m in messages %}{{ m.role }} {% if m.tool_calls %}{% for c in m.tool_calls %}"
    "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}{% else %}{{ m.content }} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)
WIDTH = 64


def write(folder: Path, words: Sequence[str], *, template: str | None = TEMPLATE, loops: bool = False) -> None:
    """The folder of a model that says `words`, each of which must be another; if it loops, from the last on to the first."""
    names = ["[UNK]", END, START, *words]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(names)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", eos_token=END, pad_token=END, chat_template=template
    )
    tokenizer.save_pretrained(folder)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config(len(names))))
    after = {place: place + 1 for place in range(2, len(names) - 1)}
    after[len(names) - 1] = 3 if loops else 1
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(names), WIDTH))
        model.lm_head.weight.zero_()
        for word in range(len(names)):
            model.lm_head.weight[after.get(word, 3), word] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    model.save_pretrained(folder)


def config(vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }


class Outcome(msgspec.Struct):
    """The answer and what the checks made of it."""

    output: str
    asked: str
    checks: tuple[Check, ...]


def said(
    folder: Path,
    words: Sequence[str],
    checks: Sequence[str],
    *,
    loops: bool = False,
    template: str | None = TEMPLATE,
    **fields: Any,
) -> Outcome:
    """The trial of such a model."""
    write(folder, words, template=template, loops=loops)
    return run(folder, config(len(words) + 3), checks, **fields)


def run(
    folder: Path, settings: dict[str, Any], checks: Sequence[str], *, kind: str = "decoder", **fields: Any
) -> Outcome:
    """The stages of a trial that the checks need, for what lies in the folder; the rest of a trial costs seconds."""
    given = {"context_tokens": 128, "repeat": 1, "decode_steps": 2, **fields}
    request = TrialRequest(
        model="scripted", kind=kind, config=settings, dtype="float32", folder=str(folder), checks=tuple(checks), **given
    )
    engine = TransformersEngine(request)
    engine.load()
    if "finite-logits" in checks:
        engine.prefill_memory()
    if "deterministic" in checks:
        engine.timing()
    reply = engine.answer()
    seen = engine.evidence(tuple(checks))
    return Outcome(output=reply.text, asked=reply.asked, checks=run_checks(checks, seen))


def check(outcome: Outcome, name: str) -> Check:
    (found,) = [one for one in outcome.checks if one.name == name]
    return found

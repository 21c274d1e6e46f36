"""Train the embedded model, measure it on held-out text and write it as a model folder.

    python -m fmkit.trial.embedded.train [--output DIR] [--steps N] [--seed N] [--threads N]

The number of steps is fixed, not the time, so a slower machine gets the same model later. With the default
steps the exit code is 1 when the held-out bits per byte differ by more than 5 % from those of the shipped model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
import transformers

from fmkit.trial.embedded import CARD_PATH, card, held_out_passages
from fmkit.trial.embedded.corpus import (
    CORPUS_PATH,
    ORIGIN,
    SPLIT_RULE,
    Document,
    read_documents,
    sha256_of_file,
    sha256_of_text,
    split,
)

BOS, EOS = "<s>", "</s>"
BOS_ID, EOS_ID = 0, 1
TOLERANCE = 0.05  # of the held-out bits per byte, for a rerun
CARD_TEMPLATE_PATH = Path(__file__).with_name("model_card.md")


@dataclass(frozen=True)
class Recipe:
    """What decides the outcome of a training. The rates were the best of a few short runs."""

    seed: int = 20261125
    steps: int = 1300
    sequences_per_step: int = 4
    context_tokens: int = 512
    vocabulary_tokens: int = 2048
    matrix_learning_rate: float = 0.015  # of Muon
    other_learning_rate: float = 8e-3  # of Adam: embedding and norms
    weight_decay: float = 0.1
    warmup_share: float = 0.05
    gradient_norm_limit: float = 1.0


class Score(NamedTuple):
    """A sum over text: `bits` and `hits` (the next token was the likeliest) over `tokens`, or `bytes_` of UTF-8."""

    bits: float
    hits: int
    tokens: int
    bytes_: int

    @property
    def bits_per_byte(self) -> float:
        """Bits of information that the model needs per UTF-8 byte of text; lower is better."""
        return self.bits / self.bytes_


def train_tokenizer(texts: Iterable[str], recipe: Recipe) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, so that no text is out of vocabulary; it puts BOS before every text."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=recipe.vocabulary_tokens,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = tokenizers.processors.Sequence(
        [
            tokenizers.processors.ByteLevel(trim_offsets=False),
            tokenizers.processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, BOS_ID)]
            ),
        ]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=recipe.context_tokens,
        clean_up_tokenization_spaces=False,
    )


def tokens_of(texts: Sequence[str], tokenizer: transformers.PreTrainedTokenizerFast) -> list[list[int]]:
    """The token ids of each text, without BOS and EOS."""
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def new_model(recipe: Recipe) -> transformers.LlamaForCausalLM:
    """A Llama with random weights, wide rather than deep: on a CPU that learns more per minute."""
    config = transformers.LlamaConfig(
        vocab_size=recipe.vocabulary_tokens,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=recipe.context_tokens,
        tie_word_embeddings=True,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )
    model = transformers.LlamaForCausalLM(config)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=BOS_ID, eos_token_id=EOS_ID, pad_token_id=EOS_ID
    )
    return model


def batches(stream: torch.Tensor, recipe: Recipe) -> Iterator[torch.Tensor]:
    """Sequences of BOS and consecutive tokens of `stream`, in random order, epoch after epoch.

    Each epoch cuts the stream at another offset. BOS always comes first because it does so at run time.
    """
    random = torch.Generator().manual_seed(recipe.seed)
    length = recipe.context_tokens - 1
    bos = torch.full((recipe.sequences_per_step, 1), BOS_ID)
    while True:
        offset = int(torch.randint(length, (1,), generator=random))
        sequences = stream[offset : offset + (len(stream) - offset) // length * length].view(-1, length)
        order = torch.randperm(len(sequences), generator=random)
        for chosen in order.split(recipe.sequences_per_step):
            if len(chosen) == recipe.sequences_per_step:
                yield torch.cat([bos, sequences[chosen]], dim=1)


class Optimizer:
    """Muon for the weight matrices of the layers, AdamW for the embedding and the norms.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) reached 1.82 bits per byte in a trial of
    150 steps, AdamW alone 2.12. It is spelt out because PyTorch has it only since 2.9, and there in bfloat16,
    which is slow on many CPUs.
    """

    def __init__(self, model: transformers.LlamaForCausalLM, recipe: Recipe) -> None:
        named = list(model.named_parameters())
        self.matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name]
        others = [weight for name, weight in named if weight.ndim != 2 or "embed" in name]
        self.momenta = [torch.zeros_like(weight) for weight in self.matrices]
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0)
        self.recipe = recipe

    def step(self, rate_share: float) -> None:
        """Update the weights from their gradients with `rate_share` of the learning rates; drop the gradients."""
        for group in self.adam.param_groups:
            group["lr"] = self.recipe.other_learning_rate * rate_share
        self.adam.step()
        self.adam.zero_grad()
        rate = self.recipe.matrix_learning_rate * rate_share
        with torch.no_grad():
            for weight, momentum in zip(self.matrices, self.momenta, strict=True):
                momentum.lerp_(weight.grad, 0.05)
                update = orthogonalized(weight.grad.lerp(momentum, 0.95))
                weight.mul_(1 - rate * self.recipe.weight_decay)
                weight.add_(update, alpha=-rate * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)
                weight.grad = None


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with all singular values 1: five Newton-Schulz iterations with Muon's constants."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def rate_share(step: int, recipe: Recipe) -> float:
    """The share of the learning rate at `step`: linear warm-up, then linear decay to 0."""
    return min(1.0, (step + 1) / (recipe.warmup_share * recipe.steps + 1)) * (1 - step / recipe.steps)


def fit(model: transformers.LlamaForCausalLM, stream: torch.Tensor, recipe: Recipe) -> None:
    """Train `model` in place on `stream`, with progress on stderr."""
    optimizer = Optimizer(model, recipe)
    begin, mean_loss = time.monotonic(), 0.0
    for step, batch in zip(range(recipe.steps), batches(stream, recipe), strict=False):
        loss = next_token_nats(model(input_ids=batch, use_cache=False).logits, batch, "mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm_limit)
        optimizer.step(rate_share(step, recipe))
        mean_loss = loss.item() if step == 0 else 0.95 * mean_loss + 0.05 * loss.item()
        if step % 25 == 24 or step + 1 == recipe.steps:
            step_s = (time.monotonic() - begin) / (step + 1)
            left_s = step_s * (recipe.steps - step - 1)
            log(f"step {step + 1}/{recipe.steps}  loss {mean_loss:.3f} nats/token  {left_s:.0f} s left")


def next_token_nats(logits: torch.Tensor, tokens: torch.Tensor, reduction: str) -> torch.Tensor:
    """The cross entropy of every token but the first, in nats."""
    predictions = logits[:, :-1].float().flatten(0, 1)
    return torch.nn.functional.cross_entropy(predictions, tokens[:, 1:].flatten(), reduction=reduction)


def measure(
    model: transformers.LlamaForCausalLM,
    tokenizer: transformers.PreTrainedTokenizerFast,
    texts: Sequence[str],
) -> Score:
    """How well `model` predicts `texts`, each cut into windows of the context that begin with BOS."""
    length = model.config.max_position_embeddings - 1
    nats, hits, tokens = 0.0, 0, 0
    for ids in tokens_of(texts, tokenizer):
        for at in range(0, len(ids), length):
            window = torch.tensor([[BOS_ID, *ids[at : at + length]]])
            with torch.no_grad():
                logits = model(input_ids=window, use_cache=False).logits
            nats += next_token_nats(logits, window, "sum").item()
            hits += int((logits[:, :-1].argmax(-1) == window[:, 1:]).sum())
            tokens += window.shape[1] - 1
    return Score(nats / math.log(2), hits, tokens, utf8_bytes(texts))


def unigram_bits(units: Iterable[int], training_units: Iterable[int], kinds: int) -> float:
    """Bits that `units` need under the frequencies of `training_units`, each of the `kinds` counted once more."""
    counts = Counter(training_units)
    total = counts.total() + kinds
    return sum(-n * math.log2((counts[unit] + 1) / total) for unit, n in Counter(units).items())


def baselines(
    texts: Sequence[str],
    training_texts: Sequence[str],
    tokenizer: transformers.PreTrainedTokenizerFast,
    prefix: str,
) -> dict[str, float]:
    """Bits per byte on `texts` without a model: all tokens alike, frequencies of tokens, frequencies of bytes."""
    size_bytes = utf8_bytes(texts)
    tokens = [token for ids in tokens_of(texts, tokenizer) for token in ids]
    training_tokens = [token for ids in tokens_of(training_texts, tokenizer) for token in ids]
    byte_bits = unigram_bits("".join(texts).encode(), "".join(training_texts).encode(), 256)
    return {
        f"{prefix}_uniform_token_bits_per_byte": len(tokens) * math.log2(len(tokenizer)) / size_bytes,
        f"{prefix}_unigram_token_bits_per_byte": unigram_bits(tokens, training_tokens, len(tokenizer)) / size_bytes,
        f"{prefix}_unigram_byte_bits_per_byte": byte_bits / size_bytes,
    }


def utf8_bytes(texts: Iterable[str]) -> int:
    """The length of all `texts` in UTF-8 bytes."""
    return sum(len(text.encode()) for text in texts)


def texts_of(documents: Iterable[Document]) -> list[str]:
    """The text of each document."""
    return [document.text for document in documents]


def figures(
    model: transformers.LlamaForCausalLM,
    tokenizer: transformers.PreTrainedTokenizerFast,
    held_out: Sequence[str],
    training: Sequence[str],
) -> dict[str, float]:
    """The figures of the card: on all `held_out` documents, and on the passages of `held_out.txt`."""
    found: dict[str, float] = {}
    for prefix, texts in (("held_out", held_out), ("held_out_txt", held_out_passages())):
        score = measure(model, tokenizer, texts)
        found |= {
            f"{prefix}_bits_per_byte": score.bits_per_byte,
            f"{prefix}_top1_accuracy": score.hits / score.tokens,
            f"{prefix}_bytes_per_token": score.bytes_ / score.tokens,
            f"{prefix}_bytes": score.bytes_,
            **baselines(texts, training, tokenizer, prefix),
        }
    return {name: round(value, 4) for name, value in found.items()}


def run(recipe: Recipe, output: Path) -> dict[str, Any]:
    """Train, write the model folder `output` and return the facts of its `training.json`."""
    begin = time.monotonic()
    torch.manual_seed(recipe.seed)
    documents = read_documents()
    training, held_out = split(documents)
    tokenizer = train_tokenizer(texts_of(training), recipe)
    stream = [token for ids in tokens_of(texts_of(training), tokenizer) for token in [*ids, EOS_ID]]
    model = new_model(recipe)
    log(f"{model.num_parameters():,} parameters, {len(stream):,} training tokens, {recipe.steps} steps")
    fit(model, torch.tensor(stream), recipe)
    model.half().save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)  # it is written for the owner only
    tokenizer.save_pretrained(output)
    # What is measured is what was written: weights rounded to float16.
    model = transformers.AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32).eval()
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "corpus_origin": ORIGIN,
        "corpus_licence": "PSF License Agreement (see NOTICE)",
        "corpus_sha256": sha256_of_text(documents),
        "corpus_file_sha256": sha256_of_file(CORPUS_PATH),
        "corpus_bytes": utf8_bytes(texts_of(documents)),
        "corpus_documents": len(documents),
        "split_rule": SPLIT_RULE,
        "held_out_documents": [document.name for document in held_out],
        **asdict(recipe),
        "training_tokens": len(stream),
        "epochs": round(recipe.steps * recipe.sequences_per_step * recipe.context_tokens / len(stream), 2),
        "parameters": model.num_parameters(),
        **figures(model, tokenizer, texts_of(held_out), texts_of(training)),
        "torch_version": torch.__version__,
        "transformers_version": transformers.__version__,
        "threads": torch.get_num_threads(),
        "wall_s": round(time.monotonic() - begin),
        "cpu_s": round(time.process_time()),  # of all threads: what wall_s would be times threads on an idle machine
    }
    write_card(facts, output)
    return facts


def write_card(facts: dict[str, Any], output: Path) -> None:
    """Write the facts for programs, and the model card for people, into the model folder `output`."""
    (output / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    template = CARD_TEMPLATE_PATH.read_text(encoding="utf-8")
    (output / "README.md").write_text(template.format_map(facts), encoding="utf-8")


def log(message: str) -> None:
    """A line of progress on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def main() -> int:
    """Run the command line; the exit code says whether the result agrees with the shipped model."""
    parser = argparse.ArgumentParser(prog="python -m fmkit.trial.embedded.train", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("embedded-model"), help="folder to write")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    stated = card()["held_out_bits_per_byte"] if CARD_PATH.exists() else None
    facts = run(Recipe(seed=options.seed, steps=options.steps), options.output)
    found = facts["held_out_bits_per_byte"]
    log(f"{found:.4f} held-out bits per byte after {facts['wall_s']} s")
    if stated is None or options.steps != Recipe.steps:
        return 0
    log(f"the shipped model has {stated:.4f}: {found / stated - 1:+.1%}")
    return int(abs(found / stated - 1) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())

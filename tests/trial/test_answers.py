"""Every kind of task on a tiny model of its kind, with a tokenizer and a processor made here: what a user gets to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial.engines.transformers import TransformersEngine
from fmkit.trial.items import INPUTS, Item
from fmkit.trial.request import TrialRequest
from fmkit.trial.tasks.encoder import pooling_of
from fmkit.trial.tasks.image import read_image
from tests.trial import scripted
from tests.trial.scripted import Outcome, check
from tests.trial.tiny import CONFIGS, IMAGE_TOKENS, VOCAB, WHISPER_ENCODER_TOKENS

SPECIAL = ["[PAD]", "[UNK]", "</s>", "[MASK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, "The", "capital", "of", "France", "is", ".", "train", "red"]


def tokenizer(last: str = "w299") -> Any:
    """Words, then numbered ones up to the models' vocabulary; the last of all as named."""
    names = [*WORDS, *(f"w{n}" for n in range(len(WORDS), VOCAB - 1)), last]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(names)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>", mask_token="[MASK]", model_max_length=128,
        additional_special_tokens=[last],
    )  # fmt: skip


def settings_of(name: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    kind, config = CONFIGS[name]
    return kind, {**config, **changes}


def save(folder: Path, config: dict[str, Any], processor: Any) -> None:
    torch.manual_seed(0)
    cls = getattr(transformers, config["architectures"][0])
    model = cls(transformers.AutoConfig.for_model(**config))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def asked(folder: Path, name: str, changes: dict[str, Any], processor: Any, **fields: Any) -> Outcome:
    kind, config = settings_of(name, **changes)
    save(folder, config, processor)
    given = {
        "output_tokens": 8,
        "encoder_tokens": 64,
        "image_tokens": IMAGE_TOKENS if kind == "vision-language" else None,
    }
    return scripted.run(folder, config, fields.pop("checks", ()), kind=kind, **{**given, **fields})


def test_completion_and_chat(tmp_path: Path) -> None:
    plain = asked(tmp_path / "a", "gpt2", {}, tokenizer(), prompt="The capital of France is")
    assert plain.asked == "The capital of France is"
    assert len(plain.output.split()) <= 8
    chatting = scripted.said(tmp_path / "b", ["Good", "day."], (), prompt="Hello")
    assert (chatting.output, chatting.asked) == ("Good day.", "Hello")


@pytest.mark.parametrize("prompt", ["The train|red|The capital", None])
def test_embedding_and_similarity(tmp_path: Path, prompt: str | None) -> None:
    checks = ("embedding-symmetry", "paraphrase-closer", "finite-logits")
    outcome = asked(tmp_path, "minilm", {}, tokenizer(), prompt=prompt, checks=checks)
    lines = outcome.output.splitlines()
    assert lines[0] == "3 texts as vectors of 64 numbers (the mean of the tokens')"
    assert [line[:11] for line in lines[1:]] == ["similarity "] * 2
    assert check(outcome, "embedding-symmetry").passed is True
    assert (check(outcome, "paraphrase-closer").value is None) is (prompt is not None)


@pytest.mark.parametrize(
    ("mode", "place"),
    [("pooling_mode_cls_token", 0), ("pooling_mode_lasttoken", 2), ("pooling_mode_mean_tokens", None)],
)
def test_pooling_as_the_folder_says(tmp_path: Path, mode: str, place: int | None) -> None:
    kind, config = settings_of("minilm")
    save(tmp_path, config, tokenizer())
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({mode: True}))
    reply = engine(tmp_path, kind, config).reply(Item(texts=("The train .", "red")))
    model = transformers.BertModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        hidden = model(**tokenizer()("The train .", return_tensors="pt")).last_hidden_state[0]
    wanted = hidden.mean(0) if place is None else hidden[place]
    assert reply.data["vectors"][0] == pytest.approx((wanted / wanted.norm()).tolist(), abs=1e-5)


def test_pooling_without_a_folder() -> None:
    assert pooling_of(None) == "the mean"


def engine(folder: Path, kind: str, config: dict[str, Any], **fields: Any) -> TransformersEngine:
    given = {"context_tokens": 64, "encoder_tokens": 64, "output_tokens": 8, **fields}
    request = TrialRequest(model="tiny", kind=kind, config=config, dtype="float32", folder=str(folder), **given)
    loaded = TransformersEngine(request)
    loaded.load()
    return loaded


def test_reranking(tmp_path: Path) -> None:
    changes = {"architectures": ["BertForSequenceClassification"], "num_labels": 1}
    outcome = asked(tmp_path, "bert", changes, tokenizer(), prompt="The capital of France is|red train|The train|.")
    scores = [float(line.partition(":")[0]) for line in outcome.output.splitlines()]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert outcome.asked == "The capital of France is"


def test_classification(tmp_path: Path) -> None:
    changes = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "good", "1": "bad", "2": "ugly"}}
    outcome = asked(tmp_path / "one", "bert", changes, tokenizer(), prompt="The train")
    chances = {part.split()[0]: float(part.split()[1].rstrip("%")) for part in outcome.output.split(", ")}
    assert set(chances) == {"good", "bad", "ugly"}
    assert sum(chances.values()) == pytest.approx(100, abs=0.2)
    several = asked(
        tmp_path / "several",
        "bert",
        {**changes, "problem_type": "multi_label_classification"},
        tokenizer(),
        prompt="red",
    )
    assert sum(float(part.split()[1].rstrip("%")) for part in several.output.split(", ")) != pytest.approx(100, abs=1)


def test_fill_mask(tmp_path: Path) -> None:
    outcome = asked(tmp_path, "bert", {}, tokenizer(), prompt="The capital of ___ is red")
    first, words = outcome.output.splitlines()
    assert first == "The capital of [MASK] is red"
    assert words.count("%") == 5
    kind, config = settings_of("bert")
    assert "no gap" in engine(tmp_path, kind, config).reply(Item(text="The train")).text


def test_summaries_and_translations(tmp_path: Path) -> None:
    outcome = asked(tmp_path / "t5", "t5", {}, tokenizer(), prompt="translate English to German: The train is red .")
    assert outcome.asked.startswith("translate English to German")
    packaged = asked(tmp_path / "bart", "bart", {}, tokenizer())
    assert packaged.asked.startswith("The workshop by the river")  # only T5 is told what to do by a prefix
    kind, config = settings_of("bart")
    multilingual = engine(tmp_path / "bart", kind, config)
    reply = multilingual.reply(Item(text="The train is red .", target_language="w42"))
    assert "w42" in reply.text.split()[:2]
    with pytest.raises(UsageError, match="does not know the language 'xx_XX'"):
        multilingual.reply(Item(text="red", target_language="xx_XX"))
    assert "only the first 64 were read" in multilingual.reply(Item(text="red " * 200)).notes[0]


def picture_processor() -> Any:
    size = {"height": 28, "width": 28}
    return transformers.CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)


def test_zero_shot_image(tmp_path: Path) -> None:
    processor = transformers.CLIPProcessor(picture_processor(), tokenizer())
    outcome = asked(tmp_path, "clip", {}, processor, input_path=str(INPUTS / "picture.png"), prompt="red|The train")
    chances = [float(line.split("%")[0]) for line in outcome.output.splitlines()]
    assert sum(chances) == pytest.approx(100, abs=0.2)
    assert chances == sorted(chances, reverse=True)
    assert outcome.asked == "which caption suits picture.png"


def test_questions_about_a_picture(tmp_path: Path) -> None:
    processor = transformers.LlavaProcessor(
        picture_processor(), tokenizer("<image>"), patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{{ m.role }} : {% for c in m.content %}{% if c.type == 'image' %}<image> {% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}",
    )  # fmt: skip
    outcome = asked(tmp_path, "llava", {}, processor, input_path=str(INPUTS / "picture.png"), prompt="Is it red ?")
    assert outcome.asked == "picture.png: Is it red ?"
    assert outcome.output


def whisper() -> tuple[Any, dict[str, Any]]:
    names = [*SPECIAL, *(f"w{n}" for n in range(len(SPECIAL), VOCAB))]
    words = transformers.WhisperTokenizer(
        vocab={word: index for index, word in enumerate(names)},
        merges=[],
        unk_token="[UNK]",
        bos_token="[UNK]",
        eos_token="</s>",
    )
    hearing = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)
    return transformers.WhisperProcessor(hearing, words), settings_of("whisper")[1]


def test_transcription_and_its_errors(tmp_path: Path) -> None:
    processor, config = whisper()
    outcome = asked(
        tmp_path, "whisper", {}, processor, checks=("word-error-rate",), encoder_tokens=WHISPER_ENCODER_TOKENS
    )
    assert outcome.asked.startswith("speech.wav, ")
    assert check(outcome, "word-error-rate").passed is False  # random weights heard something else
    one = {"encoder_tokens": WHISPER_ENCODER_TOKENS, "input_path": str(INPUTS / "speech.wav")}
    right = scripted.run(
        tmp_path, config, ("word-error-rate",), kind="speech", **one, output_tokens=8, transcript=outcome.output
    )
    assert outcome.output
    assert (check(right, "word-error-rate").passed, check(right, "word-error-rate").value) == (True, 0.0)
    wrong = scripted.run(
        tmp_path,
        config,
        ("word-error-rate",),
        kind="speech",
        **one,
        output_tokens=8,
        transcript=f"{outcome.output} more words",
    )
    assert check(wrong, "word-error-rate").data["deletions"] == 2
    unknown = scripted.run(tmp_path, config, ("word-error-rate",), kind="speech", **one, output_tokens=8)
    assert check(unknown, "word-error-rate").passed is None


def test_a_recording_longer_than_the_window_is_read_in_pieces(tmp_path: Path) -> None:
    processor, config = whisper()
    save(tmp_path, config, processor)
    listening = engine(tmp_path, "speech", config, encoder_tokens=WHISPER_ENCODER_TOKENS)
    reply = listening.reply(Item(audio=str(INPUTS / "speech.wav")))
    seconds = reply.data["audio_s"]
    assert reply.notes == (f"read in {-(-int(seconds * 16000) // 16000)} windows: a word at a cut may be lost",)
    assert reply.output_tokens is not None
    assert reply.output_tokens > 8  # each window has its own limit


def test_pictures_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UnsafeInputError, match="no picture that can be read"):
        read_image(tmp_path / "a.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnsafeInputError, match="too many pixels"):
        read_image(tmp_path / "b.png")


def test_a_prompt_that_does_not_fit_is_said(tmp_path: Path) -> None:
    kind, config = settings_of("gpt2")
    save(tmp_path, config, tokenizer())
    reply = engine(tmp_path, kind, config).reply(Item(text="red " * 100))
    assert "the prompt has 100 tokens, and only the last 56 were read" in reply.notes[0]
    assert reply.input_tokens == 56
    assert msgspec.to_builtins(reply)["output_tokens"] == reply.output_tokens

"""Images: which caption suits a picture (CLIP), and what a vision-language model says about it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply
from fmkit.trial.loaded import Loaded
from fmkit.trial.tasks.text import generate


def read_image(path: Path) -> Any:  # noqa: ANN401  a picture of Pillow's
    """A picture in RGB; UnsafeInputError for a file that is none, or that unpacks to more pixels than Pillow thinks safe."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnsafeInputError(f"{path.name} is no picture that can be read", where=str(path)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsafeInputError(f"{path.name} has too many pixels: {error}", where=str(path)) from error


SEVERAL_IMAGES = ("idefics2", "idefics3", "smolvlm")
"""Model types whose pixels have a dimension of images after that of sequences."""


def _pixels(loaded: Loaded) -> Any:  # noqa: ANN401
    """Stand-in pixels of the size the vision tower takes."""
    vision = loaded.config.vision_config
    size = getattr(vision, "image_size", None)
    if not isinstance(size, int):
        raise UsageError(f"this version can't make an image input for {type(loaded.model).__name__}")
    pixels = loaded.noise(loaded.request.sequences, getattr(vision, "num_channels", 3), size, size)
    return pixels.unsqueeze(1) if loaded.config.model_type in SEVERAL_IMAGES else pixels


class ImageText:
    """A picture and captions: how well each suits."""

    name = "image-text similarity"
    decodes = False
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """One text of `tokens` tokens and one picture per sequence."""
        return {"input_ids": loaded.token_ids(tokens), "pixel_values": _pixels(loaded)}

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The chance of each caption, best first."""
        captions = item.lines_or("captions.txt")
        path = item.file_or(item.image, "picture.png")
        made = loaded.processor(
            text=captions, images=read_image(path), return_tensors="pt", padding=True, truncation=True
        )
        given = loaded.to_device(made)
        out = loaded.model(**given)
        logits = out.logits_per_image[0].float()
        seen.finite_share = float(torch.isfinite(logits).float().mean())
        # SigLIP was trained to judge each caption by itself
        alone = "siglip" in loaded.config.model_type
        chances = (torch.sigmoid(logits) if alone else torch.softmax(logits, dim=-1)).tolist()
        ranked = sorted(zip(chances, captions, strict=True), reverse=True)
        return Reply(
            text="\n".join(f"{chance:.1%} {caption}" for chance, caption in ranked),
            asked=f"which caption suits {path.name}",
            data={"captions": {caption: chance for chance, caption in ranked}},
            input_tokens=int(given["input_ids"].numel()),
        )


class VisionChat:
    """A picture and a question: an answer in words."""

    name = "image to text"
    decodes = True
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """A picture's placeholder tokens, then text up to `tokens` tokens in all."""
        taken = loaded.request.image_tokens or 0
        if tokens <= taken:
            raise UsageError(
                f"one image takes {taken} tokens: ask for a context of at least {taken + loaded.request.decode_steps + 2}",
                where="--context",
            )
        marker = _image_token(loaded)
        ids = loaded.token_ids(tokens, avoid=(marker,))
        ids[:, :taken] = marker
        return {"input_ids": ids, "pixel_values": _pixels(loaded)}

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """What the model says about the picture."""
        processor = loaded.processor
        path = item.file_or(item.image, "picture.png")
        question = item.text_or("question.txt")
        if getattr(processor, "chat_template", None):
            seen.has_chat_template = True
            said: list[dict[str, Any]] = [
                {"role": turn.role, "content": [{"type": "text", "text": turn.content}]} for turn in item.turns
            ]
            said = said or [{"role": "user", "content": [{"type": "text", "text": question}]}]
            said[-1]["content"].insert(0, {"type": "image"})
            prompt = processor.apply_chat_template(said, add_generation_prompt=True)
        else:
            prompt = f"USER: {getattr(processor, 'image_token', '<image>')}\n{question} ASSISTANT:"
        given = loaded.to_device(processor(text=prompt, images=read_image(path), return_tensors="pt"))
        return generate(loaded, seen, given["input_ids"].shape[1], f"{path.name}: {question}", **given)


def _image_token(loaded: Loaded) -> int:
    """The id of the placeholder that an image's features replace."""
    for name in ("image_token_id", "image_token_index"):
        token = getattr(loaded.config, name, None)
        if isinstance(token, int):
            return token
    raise UsageError(f"this version does not know where {type(loaded.model).__name__} puts an image")

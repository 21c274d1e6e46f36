"""Images: which caption suits a picture (CLIP), and what a vision-language model says about it."""

from __future__ import annotations

from typing import Any

import torch

from fmkit.errors import UsageError
from fmkit.trial.evidence import Evidence
from fmkit.trial.loaded import Loaded
from fmkit.trial.tasks.text import generate

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def _image(loaded: Loaded) -> Any:  # noqa: ANN401
    from PIL import Image  # noqa: PLC0415

    with Image.open(loaded.file("picture.png", IMAGE_SUFFIXES)) as image:
        return image.convert("RGB")


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

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The chance of each caption, best first."""
        del seen
        captions = [line for line in loaded.text("captions.txt").splitlines() if line.strip()]
        given = loaded.processor(text=captions, images=_image(loaded), return_tensors="pt", padding=True)
        chances = torch.softmax(loaded.model(**loaded.to_device(given)).logits_per_image[0].float(), dim=-1).tolist()
        ranked = sorted(zip(chances, captions, strict=True), reverse=True)
        return "\n".join(f"{chance:.1%} {caption}" for chance, caption in ranked)


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

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """What the model says about the picture."""
        processor = loaded.processor
        question = loaded.text("question.txt")
        if getattr(processor, "chat_template", None):
            turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
            prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        else:
            prompt = f"USER: {getattr(processor, 'image_token', '<image>')}\n{question} ASSISTANT:"
        given = loaded.to_device(processor(text=prompt, images=_image(loaded), return_tensors="pt"))
        return generate(loaded, seen, given["input_ids"].shape[1], **given)


def _image_token(loaded: Loaded) -> int:
    """The id of the placeholder that an image's features replace."""
    for name in ("image_token_id", "image_token_index"):
        token = getattr(loaded.config, name, None)
        if isinstance(token, int):
            return token
    raise UsageError(f"this version does not know where {type(loaded.model).__name__} puts an image")

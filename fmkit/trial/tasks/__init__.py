"""The task that a kind of model is tried on. To add one: a class in a file here, and its place in `task_for`."""

from __future__ import annotations

from fmkit.trial.tasks.base import Task
from fmkit.trial.tasks.encoder import Classification, Embedding, FillMask
from fmkit.trial.tasks.image import ImageText, VisionChat
from fmkit.trial.tasks.speech import Transcription
from fmkit.trial.tasks.text import Rewriting, TextGeneration


def task_for(kind: str, class_name: str) -> Task:
    """The task of a kind of model, made by the transformers class `class_name`.

    >>> task_for("encoder", "BertForMaskedLM").name, task_for("encoder", "BertModel").name
    ('fill-mask', 'embedding')
    >>> task_for("decoder", "Qwen3ForCausalLM").name, task_for("decoder", "Qwen3Model").name
    ('text generation', 'embedding')
    """
    bare = class_name.endswith("Model") and not class_name.endswith("LMHeadModel")
    if kind == "encoder" or (kind == "decoder" and bare):
        if class_name.endswith("ForMaskedLM"):
            return FillMask()
        return Classification() if class_name.endswith("ForSequenceClassification") else Embedding()
    tasks: dict[str, Task] = {
        "clip": ImageText(),
        "vision-language": VisionChat(),
        "speech": Transcription(),
        "encoder-decoder": Rewriting(),
    }
    return tasks.get(kind, TextGeneration())

"""What a model is asked: one input from the options, or one for each line of a JSONL file. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.units import MIB

if TYPE_CHECKING:
    from fmkit.trial.request import TrialRequest

INPUTS = Path(__file__).parent / "inputs"
"""The example inputs that the project made itself (examples/inputs/make_inputs.py)."""

TEXT_SUFFIXES = (".txt", ".md")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SOUND_SUFFIXES = (".wav",)
MANY_SUFFIX = ".jsonl"

MOST_LINE_BYTES = MIB
MOST_FILE_BYTES = 256 * MIB
MOST_FAULTS_SHOWN = 3
SHOWN_CHARACTERS = 200

REQUIRED = {"clip": ("image", "texts"), "vision-language": ("image",), "speech": ("audio",)}
"""What a line must have for these kinds of model; the others need a text."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One input. What is not given is None or empty; a task takes its packaged example for it, if the user gave nothing at all.

    `texts` are sentences to embed, passages to rank, captions to choose from. `image` and `audio` are paths. Languages are the
    tokenizer's codes. `digest` tells this line of a file from another.
    """

    line: int = 1
    id: str | int | None = None
    text: str | None = None
    texts: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    image: str | None = None
    audio: str | None = None
    reference: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    digest: str = ""

    @property
    def is_packaged(self) -> bool:
        """Whether the user gave nothing, so that the packaged example is asked."""
        return not (self.text or self.texts or self.turns or self.image or self.audio)

    def text_or(self, packaged: str) -> str:
        """The text, else that of the packaged file of this name."""
        return packaged_text(packaged) if self.text is None else self.text

    def lines_or(self, packaged: str) -> list[str]:
        """The texts, else the parts of the text, else the lines of the packaged file."""
        return list(self.texts) or parts(self.text_or(packaged))

    def file_or(self, path: str | None, packaged: str) -> Path:
        """The file at `path`, else the packaged one."""
        return INPUTS / packaged if path is None else Path(path)

    def shown(self) -> str:
        """What was asked, in one line."""
        said = [f"{turn.role}: {turn.content}" for turn in self.turns]
        files = [Path(path).name for path in (self.image, self.audio) if path is not None]
        whole = " | ".join([*files, *said, *([self.text] if self.text else []), *self.texts])
        line = " ".join(whole.split())
        return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 3]}..."


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered: text for people, `data` for programs (vectors, scores), tokens read and generated, and what to know of it."""

    text: str
    asked: str = ""
    data: Any = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    notes: tuple[str, ...] = ()


class _Line(msgspec.Struct, frozen=True):
    """A line as it is written; other keys are ignored. Keys of one row mean the same."""

    id: str | int | None = None
    text: str | None = None
    prompt: str | None = None
    question: str | None = None
    query: str | None = None
    texts: list[str] | None = None
    passages: list[str] | None = None
    captions: list[str] | None = None
    messages: list[Turn] | None = None
    image: str | None = None
    audio: str | None = None
    reference: str | None = None
    source_language: str | None = None
    target_language: str | None = None


def packaged_text(name: str) -> str:
    """The text of an example that ships with fmkit."""
    return (INPUTS / name).read_text(encoding="utf-8").strip()


def parts(text: str) -> list[str]:
    r"""The parts of a text for a task that takes several: its lines, or what stands between bars in a single line.

    >>> parts("a cat|a dog"), parts("one | two\nthree")
    (['a cat', 'a dog'], ['one | two', 'three'])
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines if len(lines) != 1 else [part.strip() for part in lines[0].split("|") if part.strip()]


def single_item(request: TrialRequest) -> Item:
    """The input of `--prompt` and `--input`: a text, a picture or a recording, with the prompt as question about it."""
    path, text = request.input_path, request.prompt
    given = Item(text=text, reference=request.transcript)
    if path is None:
        return given
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return msgspec.structs.replace(given, image=path)
    if suffix in SOUND_SUFFIXES:
        return msgspec.structs.replace(given, audio=path)
    return msgspec.structs.replace(given, text=read_text(Path(path)))


def read_text(path: Path) -> str:
    """A text file; UnsafeInputError for what is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise UnsafeInputError("the file is no UTF-8 text", where=str(path)) from error


def is_many(path: str | None) -> bool:
    """Whether the file holds many inputs."""
    return path is not None and Path(path).suffix.lower() == MANY_SUFFIX


def read_items(path: Path, kind: str) -> list[Item]:
    """The inputs of a JSONL file for a kind of model; blank lines are passed over.

    Raises UnsafeInputError that names each bad line by its number, before any model is loaded.
    """
    if path.stat().st_size > MOST_FILE_BYTES:
        raise UnsafeInputError(f"the file is larger than {MOST_FILE_BYTES // MIB} MiB", where=str(path))
    items: list[Item] = []
    faults: list[str] = []
    for number, raw in enumerate(_lines(path), start=1):
        if not raw.strip():
            continue
        try:
            items.append(_item(number, raw, path.parent, kind))
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            faults.append(f"line {number}: {str(error)[:160]}")
    if faults:
        more = len(faults) - MOST_FAULTS_SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise UnsafeInputError("; ".join(faults[:MOST_FAULTS_SHOWN]) + rest, where=str(path))
    if not items:
        raise UnsafeInputError("the file holds no input", where=str(path))
    return items


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while raw := file.readline(MOST_LINE_BYTES + 1):
            yield raw
            while len(raw) > MOST_LINE_BYTES and not raw.endswith(b"\n"):  # the rest of a line that is too long
                raw = file.readline(MOST_LINE_BYTES + 1)


def _item(number: int, raw: bytes, folder: Path, kind: str) -> Item:
    if len(raw) > MOST_LINE_BYTES:
        raise ValueError(f"longer than {MOST_LINE_BYTES:,} bytes")
    line = msgspec.json.decode(raw, type=_Line)
    text = _one_of(line, ("text", "prompt", "question", "query"))
    texts: Sequence[str] = _one_of(line, ("texts", "passages", "captions")) or ()
    item = Item(
        line=number,
        id=line.id,
        text=text,
        texts=tuple(texts),
        turns=tuple(line.messages or ()),
        image=_file(line.image, folder, IMAGE_SUFFIXES),
        audio=_file(line.audio, folder, SOUND_SUFFIXES),
        reference=line.reference,
        source_language=line.source_language,
        target_language=line.target_language,
        digest=hashlib.sha256(raw.strip()).hexdigest()[:16],
    )
    for name in REQUIRED.get(kind, ()):
        if not getattr(item, name):
            raise ValueError(f"a {kind} model needs `{'captions' if name == 'texts' else name}`")
    if kind not in REQUIRED and not (item.text or item.texts or item.turns):
        raise ValueError("has no `text`, `prompt` or `messages`")
    if item.turns and item.text is not None:
        raise ValueError("has `messages` and a text: one of them is one too many")
    return item


def _one_of(line: _Line, names: Sequence[str]) -> Any:  # noqa: ANN401  a text or a list of them
    given = [name for name in names if getattr(line, name) is not None]
    if len(given) > 1:
        raise ValueError(f"has {' and '.join(f'`{name}`' for name in given)}, which mean the same")
    return getattr(line, given[0]) if given else None


def _file(name: str | None, folder: Path, suffixes: tuple[str, ...]) -> str | None:
    """The path of a file that a line names, from the folder of the JSONL file on."""
    if name is None:
        return None
    path = folder / name
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{name!r} is none of {', '.join(suffixes)}")
    if not path.is_file():
        raise ValueError(f"no such file: {name}")
    return str(path.absolute())

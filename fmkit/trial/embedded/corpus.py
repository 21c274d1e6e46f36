"""The text that the embedded model learns from: how it was made, read and split.

The text is the prose of the documentation of CPython 3.11.2 (see NOTICE for its licence). Making it again
needs the reStructuredText sources, which Debian ships in `python3.11-doc`; reading and splitting needs only
the file beside this module.

    python -m fmkit.trial.embedded.corpus /usr/share/doc/python3.11/html/_sources
"""

from __future__ import annotations

import hashlib
import lzma
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fmkit.trial.embedded import HELD_OUT_PATH, PASSAGE_SEPARATOR

CORPUS_PATH = Path(__file__).with_name("corpus.txt.xz")
ORIGIN = "the documentation of CPython 3.11.2, from the Debian package python3.11-doc 3.11.2-6+deb12u9"
HELD_OUT_PERCENT = 6
SPLIT_RULE = (
    "a document is held out when the first 8 bytes of sha256(its name), big-endian, modulo 100, "
    f"are below {HELD_OUT_PERCENT}"
)

# Left out: what is mostly lists (change logs, indexes), signatures in C, or not ours to retell (licences).
_LEFT_OUT = re.compile(r"(whatsnew|c-api)/.*|(.*/)?index|contents|license|copyright")
_DOCUMENT_MARK = "\f"  # a form feed, then the name of the document, begins a document: no page contains one
_SHORTEST_DOCUMENT_CHARS = 3000  # of those that give a passage
_LONGEST_PASSAGE_CHARS = 1500  # below 511 tokens, so that a passage fits into the context
_FEWEST_WORDS = 8  # a paragraph of fewer words is a title, a signature or an item of a list, not prose
_LEAST_SHARE_OF_WORDS = 0.6  # of what stands between spaces; a signature or a table has fewer
_WORD = re.compile(r"(?<![^\s(\"'])[A-Za-z]+(?:['-][a-z]+)*(?![^\s.,;:?!)\"'])")

_DESCRIPTIONS = frozenset(
    [
        "attribute",
        "class",
        "cmdoption",
        "data",
        "decorator",
        "decoratormethod",
        "describe",
        "exception",
        "function",
        "classmethod",
        "method",
        "staticmethod",
        "option",
        "opcode",
        "abstractmethod",
        "coroutinefunction",
        "coroutinemethod",
        "awaitablefunction",
        "awaitablemethod",
        "2to3fixer",
        "pdbcommand",
        "envvar",
        "property",
        "c:function",
        "c:type",
        "c:macro",
        "c:member",
        "c:var",
        "c:struct",
        "c:enum",
    ]
)
_ADMONITIONS = {
    "note": "Note: ",
    "warning": "Warning: ",
    "seealso": "See also: ",
    "tip": "",
    "important": "",
    "impl-detail": "CPython implementation detail: ",
    "glossary": "",
    "rubric": "",
    "topic": "",
}
_VERSIONS = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "deprecated-removed": "Deprecated since version",
}

_INLINE = (
    (re.compile(r"\\\n\s*"), " "),
    (re.compile(r"\|(release|version)\|"), "3.11"),
    (re.compile(r":(?:issue|bpo):`([^`]+)`"), r"issue \1"),
    (re.compile(r":pep:`([^`<]+)`"), r"PEP \1"),
    (re.compile(r":rfc:`([^`<]+)`"), r"RFC \1"),
    (re.compile(r":(?:[\w.+-]+:)?[\w.+-]+:`!?~?[^`<]*?([^`<>]*?)\s*<[^`>]*>`"), r"\1"),
    (re.compile(r":(?:[\w.+-]+:)?[\w.+-]+:`~(?:[^`]*\.)?([^`.]+)`"), r"\1"),
    (re.compile(r":(?:func|meth|c:func):`!?([^`()]+)(?:\(\))?`"), r"\1()"),
    (re.compile(r":(?:[\w.+-]+:)?[\w.+-]+:`!?\.?([^`]+)`"), r"\1"),
    (re.compile(r"(?<![\w`.])([A-Za-z][\w.-]*?[a-z0-9])_(?![\w`])"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"`([^`]+)`_?_?"), r"\1"),
    (re.compile(r"\s?\[[#\w]+\]_"), ""),
    (re.compile(r"(?<![\w*])\*{1,2}(?=[^\s*])([^*]+?)(?<=[^\s*])\*{1,2}(?![\w*])"), r"\1"),
    (re.compile(r"\\(?=[^\w\s])|\\ "), ""),
    (re.compile(r"\s*::$"), ":"),
    (re.compile(r"\s+"), " "),
)
_ITEM = re.compile(r"(?:[*+-]|#\.|\d+\.|\(\w\))\s+")
_DIRECTIVE = re.compile(r"\.\.\s+([\w:-]+)::\s*(.*)", re.DOTALL)
_RULER = re.compile(r"([=\-~^\"'*#+_.`])\1{2,}")


class Document(NamedTuple):
    """One page of the documentation."""

    name: str
    text: str


def read_documents(path: Path = CORPUS_PATH) -> list[Document]:
    """The documents of the corpus, in the order of the file."""
    whole = lzma.decompress(path.read_bytes()).decode()
    parts = (part.partition("\n") for part in whole.split(_DOCUMENT_MARK)[1:])
    return [Document(name, text.strip()) for name, _, text in parts]


def is_held_out(name: str) -> bool:
    """Whether the document called `name` is kept from training, by `SPLIT_RULE`.

    >>> is_held_out("library/random"), is_held_out("library/json")
    (False, False)
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < HELD_OUT_PERCENT


def split(documents: list[Document]) -> tuple[list[Document], list[Document]]:
    """The documents to train on and the held-out ones."""
    held_out = [document for document in documents if is_held_out(document.name)]
    return [document for document in documents if not is_held_out(document.name)], held_out


def passages(documents: list[Document]) -> list[str]:
    """What `held_out.txt` holds: the first paragraphs of each of the longer held-out `documents`."""
    found = []
    for document in split(documents)[1]:
        if len(document.text) >= _SHORTEST_DOCUMENT_CHARS:
            end = document.text.rindex("\n\n", 0, _LONGEST_PASSAGE_CHARS)
            found.append(document.text[:end])
    return found


def sha256_of_text(documents: list[Document]) -> str:
    """The sha256 of the uncompressed corpus, in hex."""
    return hashlib.sha256(_joined(documents)).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(sources: Path) -> list[Document]:
    """The prose of every `.rst.txt` below `sources`; a paragraph that came before is left out.

    Left out because a paragraph that stands in two documents could be on both sides of the split.
    """
    seen: set[str] = set()
    documents = []
    for path in sorted(sources.rglob("*.rst.txt")):
        name = path.relative_to(sources).as_posix().removesuffix(".rst.txt")
        if _LEFT_OUT.fullmatch(name):
            continue
        kept = []
        for paragraph in prose(path.read_text(encoding="utf-8")):
            if paragraph not in seen:
                kept.append(paragraph)
            seen.add(paragraph)
        if kept:
            documents.append(Document(name, "\n\n".join(kept)))
    return documents


def write(documents: list[Document], path: Path = CORPUS_PATH) -> None:
    """Write the corpus, compressed; the same documents give the same text, and with the same liblzma the same file."""
    path.write_bytes(lzma.compress(_joined(documents), preset=9 | lzma.PRESET_EXTREME))


def _joined(documents: list[Document]) -> bytes:
    """The text of the corpus file: every document after its mark."""
    return "".join(f"{_DOCUMENT_MARK}{name}\n{text}\n" for name, text in documents).encode()


def prose(source: str) -> Iterator[str]:
    """The paragraphs of a reStructuredText page, without markup, code, tables and directives about layout."""
    yield from _paragraphs(source.expandtabs(8).splitlines(), "")


def _paragraphs(lines: list[str], prefix: str) -> Iterator[str]:
    """The paragraphs of `lines`, the first of them after `prefix`."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        end = _block_end(lines, at)
        block = lines[at:end]
        first = block[0].strip()
        if first.startswith(".."):
            end = _body_end(lines, at)
            yield from _directive([first, *lines[at + 1 : end]])
        elif not (first.startswith((">>>", "+-", "|", "===", "...")) and not _is_title(block)):
            for paragraph in _plain(block):
                yield prefix + paragraph
                prefix = ""
            if block[-1].rstrip().endswith("::"):
                end = _body_end(lines, end - 1, _indent(block[-1]))  # what follows `::` is code
        at = end


def _plain(block: list[str]) -> Iterator[str]:
    """The paragraphs of a block without blank lines: list items and definitions are paragraphs of their own."""
    gathered: list[str] = []
    indent = _indent(block[0])
    for line in block:
        text = line.strip()
        if _RULER.fullmatch(text):
            continue
        item = _ITEM.match(text)
        if gathered and (item or _indent(line) != indent) and not gathered[-1].endswith("\\"):
            yield from _clean("\n".join(gathered))
            gathered = []
        indent = _indent(line) + (item.end() if item else 0)
        gathered.append("- " + text[item.end() :] if item else text)
    yield from _clean("\n".join(gathered))


def _directive(lines: list[str]) -> Iterator[str]:
    """The paragraphs of a directive, whose first line is stripped: none where it is about layout or code."""
    found = _DIRECTIVE.match(lines[0])
    if found is None:
        if lines[0].startswith(".. ["):  # a footnote
            yield from _paragraphs([lines[0].partition("]")[2].strip(), *_dedented(lines[1:])], "")
        return
    name, argument = found[1].removeprefix("py:"), found[2]
    body = _dedented(lines[1:])
    while body and (body[0].startswith(":") or argument.endswith("\\")) and not body[0].startswith(":ref"):
        more = body.pop(0).strip()
        argument = argument.removesuffix("\\") + more if argument.endswith("\\") else argument
    if name in _DESCRIPTIONS:
        yield from _clean(argument)
        yield from _paragraphs(_dedented(body), "")
    elif name in _ADMONITIONS:
        yield from _paragraphs([argument, *body] if argument else body, _ADMONITIONS[name])
    elif name in _VERSIONS:
        text = " ".join(line.strip() for line in body)
        version = f"{_VERSIONS[name]} {argument.split(' ')[0]}"
        if text and "::" not in text and ".. " not in text:
            yield from _clean(f"{version}: {text}")


def _clean(text: str) -> Iterator[str]:
    """`text` without inline markup, when that leaves something to read."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text.strip())
    words = _WORD.findall(text)
    if len(words) >= max(_FEWEST_WORDS, len(text.split()) * _LEAST_SHARE_OF_WORDS):
        yield text


def _block_end(lines: list[str], at: int) -> int:
    """The index of the first blank line after `at`."""
    return next((i for i in range(at, len(lines)) if not lines[i].strip()), len(lines))


def _body_end(lines: list[str], at: int, indent: int | None = None) -> int:
    """The index of the first line after `at` that is not blank and not deeper than `indent` (of line `at`)."""
    indent = _indent(lines[at]) if indent is None else indent
    deeper = (i for i in range(at + 1, len(lines)) if lines[i].strip() and _indent(lines[i]) <= indent)
    return next(deeper, len(lines))


def _dedented(lines: list[str]) -> list[str]:
    """`lines` without leading blank lines and without their common indentation."""
    indents = [_indent(line) for line in lines if line.strip()]
    return [line[min(indents) :] if line.strip() else "" for line in lines] if indents else []


def _is_title(block: list[str]) -> bool:
    return len(block) > 1 and any(_RULER.fullmatch(line.strip()) and not line[:1].isspace() for line in block)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def main() -> None:
    """Write the corpus and the held-out passages from the folder of sources that the command line names."""
    documents = build(Path(sys.argv[1]))
    write(documents)
    HELD_OUT_PATH.write_text(PASSAGE_SEPARATOR.join(passages(documents)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

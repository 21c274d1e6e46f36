"""Languages by the names people use for them."""

from __future__ import annotations

from fmkit.errors import UsageError

LANGUAGE_CODES = {
    "afrikaans": "af", "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "catalan": "ca", "chinese": "zh",
    "croatian": "hr", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "estonian": "et",
    "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "gujarati": "gu", "hebrew": "he", "hindi": "hi",
    "hungarian": "hu", "icelandic": "is", "indonesian": "id", "irish": "ga", "italian": "it", "japanese": "ja",
    "kannada": "kn", "korean": "ko", "latvian": "lv", "lithuanian": "lt", "malay": "ms", "malayalam": "ml",
    "mandarin": "zh", "marathi": "mr", "norwegian": "no", "persian": "fa", "farsi": "fa", "polish": "pl",
    "portuguese": "pt", "punjabi": "pa", "romanian": "ro", "russian": "ru", "serbian": "sr", "slovak": "sk",
    "slovenian": "sl", "spanish": "es", "swahili": "sw", "swedish": "sv", "tagalog": "tl", "tamil": "ta",
    "telugu": "te", "thai": "th", "turkish": "tr", "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi", "welsh": "cy",
}  # fmt: skip
"""English names of languages and their ISO 639-1 codes."""


def language_code(name: str, *, where: str | None = None) -> str:
    """The lower-case BCP 47 code of a language given by its code or its English name.

    >>> language_code("German"), language_code("pt-BR"), language_code("zh")
    ('de', 'pt-br', 'zh')
    """
    folded = name.strip().lower().replace("_", "-")
    if folded in LANGUAGE_CODES:
        return LANGUAGE_CODES[folded]
    primary = folded.partition("-")[0]
    if primary.isascii() and primary.isalpha() and 2 <= len(primary) <= 3:
        return folded
    raise UsageError.unknown("language", name, LANGUAGE_CODES, where=where)


def speaks(languages: tuple[str, ...], wanted: str) -> bool:
    """Whether a model that lists `languages` covers `wanted`: the same code, or the same language without its region.

    >>> speaks(("en", "pt"), "pt-br"), speaks(("en",), "de"), speaks(("zh-hans",), "zh")
    (True, False, True)
    """
    listed = {code.lower() for code in languages}
    primary = wanted.partition("-")[0]
    return wanted in listed or primary in listed or any(code.startswith(f"{wanted}-") for code in listed)

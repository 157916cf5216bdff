"""Which languages a data set has, by headers and file names, and which way it is translated."""

import re
from collections.abc import Sequence

from tfcamp.errors import UserError

# ISO 639-1.
_CODES = frozenset(
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy "
    "da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu "
    "hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb "
    "lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om "
    "or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw "
    "ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu".split()
)
_NAMES = {
    "arabic": "ar",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "中文": "zh",
    "英文": "en",
}


def language_code(text: str) -> str | None:
    """Returns the code of a language that is given by code or by name; None for other text.

    Codes are lower case, or a sentence such as "No" would be one; a region stays with its code.

    >>> [language_code(text) for text in ("de", "Chinese", "zh-CN", "No", "tsv")]
    ['de', 'zh', 'zh-CN', None, None]
    """
    code, _, region = text.replace("_", "-").partition("-")
    if code in _CODES and re.fullmatch(r"(|[A-Za-z]{2,4})", region):
        return text
    return _NAMES.get(text.lower())


def language_of_column(name: str) -> str | None:
    """Returns the code of the language that a header names, or None.

    A code may be in capitals where its language has a name here: NO and SI are sentences.

    >>> [language_of_column(name) for name in ("zh", "EN", "NO", "text")]
    ['zh', 'en', None, None]
    """
    code = name.lower()
    return code if name.isupper() and code in _NAMES.values() else language_code(name)


def languages_in_name(name: str) -> tuple[str, str] | None:
    """Returns the two languages that the name of a file or folder ends with, or None.

    >>> languages_in_name("everyday_en_zh"), languages_in_name("wmt19.zh-en")
    (('en', 'zh'), ('zh', 'en'))
    """
    found = re.search(r"(?:^|[^A-Za-z])([a-z]{2})[-_]([a-z]{2})$", name)
    if found is None or found[1] == found[2] or not _CODES.issuperset(found.groups()):
        return None
    return found[1], found[2]


def choose_direction(
    available: Sequence[str], source: str | None, target: str | None, where: str
) -> tuple[str, str]:
    """Returns the languages to translate from and to.

    Args:
      available: what the data set has; where it is two, their order is the default.
      source: what the user asked for, or None.
      target: likewise. One of them decides the other where there are two.
      where: the data set, for the message.

    Raises:
      UserError: the data set has not both languages, or has several and two are not named.

    >>> choose_direction(["en", "zh"], None, "en", "sample")
    ('zh', 'en')
    """
    has = f"{where}: has {', '.join(available)}"
    if len(available) < 2:
        raise UserError(f"{has} alone; expected sentences of a second language beside them")
    source = _asked_for("--source", source, available, has)
    target = _asked_for("--target", target, available, has)
    if source is not None and source == target:
        raise UserError(f"{has}: --source and --target are both {source!r}")
    if source is not None and target is not None:
        return source, target
    if len(available) > 2:
        raise UserError(f"{has}: name two of them with --source and --target")
    first, second = available
    return (second, first) if source == second or target == first else (first, second)


def _asked_for(option: str, language: str | None, available: Sequence[str], has: str) -> str | None:
    """Returns which of the languages an option names."""
    if language is None:
        return None
    code = language_code(language) or language
    for name in available:
        if code in (name, language_code(name)):
            return name
    raise UserError(f"{has}, not {language!r}: give {option} one of these")

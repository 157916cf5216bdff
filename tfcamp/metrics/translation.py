"""Scores of translations, as sacrebleu computes them, each with its signature and an interval.

A BLEU without its signature cannot be compared: the tokenizer alone may move it by 60 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from tfcamp.metrics.bleu_tokenizer import choose_tokenizer

# sacrebleu's own: an interval is then the one that its command line shows with --confidence.
_NUM_RESAMPLES, _SEED = 1000, 12345

# What a human wrote for each sentence, or what several did.
References: TypeAlias = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Score:
    """A corpus score with its 95 % interval from bootstrap resampling (Koehn, 2004).

    Attributes:
      name: "BLEU" or "chrF2".
      value: in [0, 100].
      low: the 2.5th percentile of the resampled scores; the value where nothing was resampled.
      high: the 97.5th percentile, likewise.
      signature: sacrebleu's, by which the score can be computed again.
      resampled: float64[R]; entry r of two scores on the same sentences stands for the same
        resample, so that `compare` can subtract one from the other.
    """

    name: str
    value: float
    low: float
    high: float
    signature: str
    resampled: np.ndarray = field(repr=False, compare=False)

    def __str__(self) -> str:
        """Returns one line for people, the signature with it."""
        return f"{self.name} {self.value:.2f} [{self.low:.2f}, {self.high:.2f}] {self.signature}"


class LengthBand(NamedTuple):
    """The sentences whose source is so long.

    Attributes:
      shortest: the least length in the band.
      longest: the greatest; None if there is no end.
      bleu: of these sentences alone.
      support: how many there are.
    """

    shortest: int
    longest: int | None
    bleu: Score
    support: int

    @property
    def name(self) -> str:
        """Returns the band as text, such as 11–20."""
        if self.longest is None:
            return f"≥{self.shortest}"
        if self.shortest == 0:
            return f"≤{self.longest}"
        if self.longest == self.shortest:
            return str(self.shortest)
        return f"{self.shortest}–{self.longest}"


@dataclass(frozen=True)
class TranslationReport:
    """What `score_translations` saw.

    Attributes:
      bleu: corpus BLEU (Papineni et al., 2002).
      chrf: corpus chrF (Popović, 2015), which needs no tokenizer.
      exact_match: share of the sentences that are a reference, letter by letter, in [0, 1].
      length_ratio: tokens written for each token of the references; a model that ends too early is
        below 1.
      by_length: BLEU by the length of the source, bands without a sentence left out; empty if the
        lengths were not given.
      num_sentences: how many there are.
      notes: lines that the user should read.
    """

    bleu: Score
    chrf: Score
    exact_match: float
    length_ratio: float
    by_length: tuple[LengthBand, ...]
    num_sentences: int
    notes: tuple[str, ...] = ()

    def scalars(self) -> dict[str, float]:
        """Returns the figures of the whole, by name, ready for JSON."""
        return {
            "bleu": self.bleu.value,
            "bleu_low": self.bleu.low,
            "bleu_high": self.bleu.high,
            "chrf": self.chrf.value,
            "chrf_low": self.chrf.low,
            "chrf_high": self.chrf.high,
            "exact_match": self.exact_match,
            "length_ratio": self.length_ratio,
        }

    def signatures(self) -> dict[str, str]:
        """Returns what has to stand beside the scores, by name, ready for JSON."""
        return {"bleu": self.bleu.signature, "chrf": self.chrf.signature}

    def table(self) -> str:
        """Returns the scores, and BLEU by length, as lines for a terminal."""
        lines = [*map(str, (self.bleu, self.chrf))]
        lines.append(f"exact {100 * self.exact_match:.1f} %, length ratio {self.length_ratio:.3f}")
        if self.by_length:
            lines.append(f"{'source length':<14}{'BLEU':>8}{'low':>8}{'high':>8}{'support':>9}")
        lines += [
            f"{band.name:<14}{band.bleu.value:>8.2f}{band.bleu.low:>8.2f}{band.bleu.high:>8.2f}"
            f"{band.support:>9d}"
            for band in self.by_length
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def score_translations(
    hypotheses: Sequence[str],
    references: References,
    *,
    language: str | None,
    source_lengths: Sequence[int] | None = None,
    bands: Sequence[int] = (5, 10, 15, 20, 30, 40, 60),
    num_resamples: int = _NUM_RESAMPLES,
) -> TranslationReport:
    """Scores the translations of a test set.

    Args:
      hypotheses: what the model wrote, as readable text: not cut into tokens.
      references: what humans wrote, one text or several for each.
      language: of the references, such as "de" or "zh-CN", which decides how sacrebleu cuts them
        into words; None if unknown.
      source_lengths: words of each source sentence, or whatever its length is counted in.
      bands: the greatest length of each band, ascending; one more, without an end, follows.
      num_resamples: R, for the intervals; 0 for none, which is faster.

    Raises:
      ValueError: there are no sentences, or not one reference and length for each.

    >>> report = score_translations(["一只狗在跑。"], ["一只狗在跑。"], language="zh")
    >>> print(report.bleu)
    BLEU 100.00 [100.00, 100.00] nrefs:1|bs:1000|seed:12345|case:mixed|eff:no|tok:zh|...
    """
    streams = _streams(hypotheses, references)
    tokenizer, notes = choose_tokenizer(language, streams[0])
    bleu = BLEU(tokenize=tokenizer)
    counts = _sentence_counts(bleu, hypotheses, streams)
    chrf = CHRF()
    whole = _score(bleu, counts, num_resamples)
    matches = sum(
        hypothesis.strip() in (text.strip() for text in texts if text is not None)
        for hypothesis, *texts in zip(hypotheses, *streams, strict=True)
    )
    written, wanted = counts[:, :2].sum(0)
    by_length: tuple[LengthBand, ...] = ()
    if source_lengths is not None:
        if len(source_lengths) != len(references):
            raise ValueError(f"{len(source_lengths)} lengths for {len(references)} sentences")
        by_length = _by_length(bleu, counts, np.asarray(source_lengths), bands, num_resamples)
    return TranslationReport(
        bleu=whole,
        chrf=_score(chrf, _sentence_counts(chrf, hypotheses, streams), num_resamples),
        exact_match=matches / len(references),
        length_ratio=float(written / max(wanted, 1)),
        by_length=by_length,
        num_sentences=len(references),
        notes=notes,
    )


def corpus_bleu(
    hypotheses: Sequence[str], references: References, *, language: str | None
) -> float:
    """Returns BLEU in [0, 100] and nothing else, for the end of an epoch.

    >>> print(f"{corpus_bleu(['a b c d e'], ['a b c d x'], language='en'):.2f}")
    66.87
    """
    streams = _streams(hypotheses, references)
    tokenizer, _ = choose_tokenizer(language, streams[0])
    return BLEU(tokenize=tokenizer).corpus_score(hypotheses, streams).score


class Difference(NamedTuple):
    """How much better one system is than another, with its 95 % interval.

    Attributes:
      value: the first score minus the second.
      low: the 2.5th percentile of the difference in the same resamples.
      high: the 97.5th percentile.
    """

    value: float
    low: float
    high: float


def compare(first: Score, second: Score) -> Difference:
    """Returns the difference of two systems on the same sentences (Koehn, 2004, sec. 4).

    An interval without 0 is a difference that another test set would show too. Two intervals that
    overlap say much less: what makes a sentence hard is hard for both systems.

    Raises:
      ValueError: the scores are not of the same kind, or not resampled alike.
    """
    if first.signature != second.signature:
        raise ValueError(f"{first.signature} cannot be compared with {second.signature}")
    if not 0 < len(first.resampled) == len(second.resampled):
        raise ValueError(
            f"scores with {len(first.resampled)} and {len(second.resampled)} resamples cannot be "
            "compared"
        )
    low, high = _interval(first.resampled - second.resampled)
    return Difference(first.value - second.value, low, high)


def _streams(hypotheses: Sequence[str], references: References) -> list[list]:
    """Returns the references as sacrebleu wants them: all first ones, all second ones, ...

    Where a sentence has fewer references than another, there is None.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} translations for {len(references)} references")
    if not references:
        raise ValueError("no translations to score")
    texts = [[texts] if isinstance(texts, str) else texts for texts in references]
    if not all(texts):
        raise ValueError("a sentence has no reference")
    return [list(stream) for stream in zip_longest(*texts)]


def _sentence_counts(
    metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
    """Returns what sacrebleu counts in each sentence, int64[N, counts]; their sums are a corpus's.

    sacrebleu's own interval resamples sentences in this way, for hundreds of megabytes where the
    test set is large, and keeps the resampled scores to itself.
    """
    return np.asarray(metric._extract_corpus_statistics(hypotheses, references), np.int64)


def _score(metric: BLEU | CHRF, counts: np.ndarray, num_resamples: int) -> Score:
    def score(total: np.ndarray) -> Any:
        return metric._compute_score_from_stats(total.tolist())

    num_sentences = len(counts)
    whole = score(counts.sum(0))
    random = np.random.default_rng(_SEED)
    resampled = np.empty(num_resamples)
    for i in range(num_resamples):
        drawn = random.choice(num_sentences, size=num_sentences)
        resampled[i] = score(np.bincount(drawn, minlength=num_sentences) @ counts).score
    low, high = _interval(resampled) if num_resamples else (whole.score, whole.score)
    # What the signature says of the interval.
    vars(metric).update(n_bootstrap=num_resamples or None, seed=_SEED if num_resamples else None)
    signature = metric.get_signature().format()
    return Score(whole.name, whole.score, low, high, signature, resampled)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the middle 95 % as sacrebleu does."""
    ordered, cut = np.sort(values), len(values) // 40
    return float(ordered[cut]), float(ordered[-1 - cut])


def _by_length(
    bleu: BLEU,
    counts: np.ndarray,
    lengths: np.ndarray,
    bands: Sequence[int],
    num_resamples: int,
) -> tuple[LengthBand, ...]:
    rows = []
    starts = (0, *(longest + 1 for longest in bands))
    for shortest, longest in zip(starts, (*bands, None), strict=True):
        in_band = lengths >= shortest
        if longest is not None:
            in_band &= lengths <= longest
        if in_band.any():
            score = _score(bleu, counts[in_band], num_resamples)
            rows.append(LengthBand(shortest, longest, score, int(in_band.sum())))
    return tuple(rows)

"""BLEU by length, and examples beside their references."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from tests.figures.test_classification import assert_text_is_inside, texts
from tfcamp.figures.report import Section, write_report
from tfcamp.figures.translation import bleu_by_length, translation_table
from tfcamp.metrics.translation import LengthBand, Score


def band(shortest: int, longest: int | None, bleu: float, margin: float, support: int):
    score = Score("BLEU", bleu, bleu - margin, bleu + margin, "tok:zh", np.zeros(0))
    return LengthBand(shortest, longest, score, support)


def test_bars_values_and_intervals():
    figure = bleu_by_length([band(0, 5, 42.0, 8.0, 6), band(6, None, 30.25, 2.0, 1234)])
    axes = figure.axes[0]
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [bar.get_height() for bar in bars] == [42.0, 30.25]
    intervals = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert intervals == [[34, 50], [28.25, 32.25]]
    assert {"42.0", "30.2", "≤5\n6", "≥6\n1,234"} <= set(texts(figure))
    assert axes.get_ylim()[1] >= 50


@pytest.mark.parametrize("num_bands", [1, 6, 9])
@pytest.mark.parametrize("bleu", [0.0, 37.5, 100.0])
def test_text_is_inside_the_frame(num_bands: int, bleu: float):
    bands = [band(10 * i, 10 * i + 9, bleu, 0.0, 10_000) for i in range(num_bands)]
    figure = bleu_by_length(bands, unit="characters")
    assert_text_is_inside(figure)
    assert any(text.startswith("source characters,") for text in texts(figure))


def test_no_lengths_are_refused():
    with pytest.raises(ValueError, match="no lengths to draw"):
        bleu_by_length([])


def test_examples_stand_beside_their_references(tmp_path):
    table = translation_table(["A dog runs."], ["一只狗在跑。"], ["有只狗在跑。"])
    assert table.header == ["source", "translation", "reference"]
    sections = [Section("Examples", table=table)]
    write_report(tmp_path / "r.html", title="t", config={}, metrics={}, sections=sections)
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.index("A dog runs.") < page.index("一只狗在跑。") < page.index("有只狗在跑。")
    with pytest.raises(ValueError, match="shorter"):
        translation_table(["a", "b"], ["c", "d"], ["e"])

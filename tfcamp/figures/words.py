"""A map of words: near on paper what is near as vectors."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfcamp.figures.style import (
    INK,
    MUTED,
    SERIES,
    SMALL,
    add_axes,
    drawing,
    fitted,
    new_figure,
    printable,
    text_width,
)

_WIDTH, _HEIGHT, _MARGIN = 720, 540, 44
_LINE = 20  # of the legend
_WIDEST_NAME = 300  # in the legend; a wider one is shortened
_MARKERS = "os^Dv"
# Where a label may stand beside its point: angles, then distances, in the order of preference.
_ANGLES = [math.radians(angle) for angle in (0, 180, 90, 270, 45, 315, 135, 225)]
_DISTANCES = (6, 12, 20)

Box = tuple[float, float, float, float]  # left, bottom, right, top


def word_map(
    tokens: Sequence[str],
    vectors: np.ndarray,
    groups: Sequence[str] | None = None,
    *,
    method: Literal["tsne", "pca"] = "tsne",
    seed: int = 0,
) -> Figure:
    """Draws words on a plane.

    t-SNE (van der Maaten and Hinton, 2008), started from the principal components, keeps
    neighbourhoods and bends distances; PCA keeps the two widest directions. Both look at
    directions only, as cosines do.

    Args:
      tokens: N words, the most important first: where labels would touch, the later one is left
        out and its point stays. Some 100 to 300 words make a map that can be read.
      vectors: float[N, D].
      groups: the group of each word, which gives its colour; None for one colour.
      method: "tsne", or "pca"; fewer than 5 different vectors are always drawn by PCA.
      seed: of scikit-learn; t-SNE starts from the components, so it changes little.

    Raises:
      ValueError: there are no words, or the arguments do not fit.
    """
    vectors = np.asarray(vectors, np.float64)
    if not len(tokens) or vectors.ndim != 2 or len(vectors) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens do not fit vectors of shape {vectors.shape}")
    if groups is not None and len(groups) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens do not fit {len(groups)} groups")
    if method not in ("tsne", "pca"):
        raise ValueError(f'method must be "tsne" or "pca", got {method!r}')
    points = _to_frame(_flatten(vectors, method, seed))
    labels = [printable(token) for token in tokens]
    names = list(dict.fromkeys(groups)) if groups is not None else [""]
    styles = {
        name: (SERIES[i % len(SERIES)], _MARKERS[i // len(SERIES) % len(_MARKERS)])
        for i, name in enumerate(names)
    }
    places = place_labels(points, [text_width(label, SMALL) for label in labels])
    note = ""
    if None in places:
        note = f"{places.count(None)} of {len(places)} words without a label, for want of room"
    legend = _legend_rows(names if groups is not None else [], note)
    legend_height = _LINE * len(legend) + 12
    with drawing():
        figure = new_figure(_WIDTH, _HEIGHT + legend_height)
        axes = add_axes(figure, 0, 0, _WIDTH, _HEIGHT)
        axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
        axes.set_axis_off()
        for (x, y), group in zip(points, groups or [""] * len(labels), strict=True):
            color, marker = styles[group]
            axes.plot(x, y, marker, color=color, markersize=3.6, markeredgewidth=0, alpha=0.8)
        for place, label, group in zip(places, labels, groups or [""] * len(labels), strict=True):
            if place is not None:
                color = styles[group][0] if groups is not None else INK
                axes.text(*place, label, fontsize=SMALL, color=color, ha="center", va="center")
        _draw_legend(add_axes(figure, 0, _HEIGHT, _WIDTH, legend_height), legend, note, styles)
    return figure


def place_labels(points: np.ndarray, widths: Sequence[float]) -> list[tuple[float, float] | None]:
    """Finds room for a label beside each point, in the order of the points.

    Args:
      points: float[N, 2] in pixels.
      widths: N label widths in pixels.

    Returns:
      The middle of each label, or None where no place is free. Labels touch neither each other nor
      a point nor the edge.
    """
    dots: list[Box] = [(x - 2, y - 2, x + 2, y + 2) for x, y in points]
    taken = np.array(dots)
    places: list[tuple[float, float] | None] = []
    for (x, y), width in zip(points, widths, strict=True):
        place = None
        for distance in _DISTANCES:
            for angle in _ANGLES:
                # The label's box, pushed out until its near edge is `distance` away.
                middle_x = x + (distance + width / 2) * math.cos(angle)
                middle_y = y + (distance + SMALL / 2) * math.sin(angle)
                box = (
                    middle_x - width / 2 - 1,
                    middle_y - SMALL / 2 - 2,
                    middle_x + width / 2 + 1,
                    middle_y + SMALL / 2 + 2,
                )
                if _is_free(box, taken):
                    place = (float(middle_x), float(middle_y))
                    taken = np.vstack([taken, box])
                    break
            if place is not None:
                break
        places.append(place)
    return places


def _is_free(box: Box, taken: np.ndarray) -> bool:
    left, bottom, right, top = box
    inside = left >= 0 and bottom >= 0 and right <= _WIDTH and top <= _HEIGHT
    touching = (
        (taken[:, 0] < right) & (taken[:, 2] > left) & (taken[:, 1] < top) & (taken[:, 3] > bottom)
    )
    return inside and not touching.any()


def _flatten(vectors: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Returns float[N, 2]."""
    # Imported here: scikit-learn takes a second, and only this figure needs it.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    num_different = len(np.unique(directions.round(6), axis=0))
    if num_different < 3 or directions.shape[1] < 2:
        # On a line: that is all that one or two points, or numbers, say.
        first = directions[:, 0] if directions.shape[1] else np.zeros(len(directions))
        return np.stack([first, np.zeros(len(directions))], axis=1)
    if method == "pca" or num_different < 5:
        return PCA(2, svd_solver="full").fit_transform(directions)
    # A perplexity of 30 is the usual one; it must stay well below the number of points.
    tsne = TSNE(2, perplexity=min(30.0, (num_different - 1) / 3), init="pca", random_state=seed)
    # One thread: the map does not depend on their number, and on a busy machine threads that wait
    # for each other at every step took 25 times as long (48 s for 250 words, against 1.9 s).
    with threadpool_limits(1):
        return tsne.fit_transform(directions)


def _to_frame(points: np.ndarray) -> np.ndarray:
    """Scales a map to the figure's pixels, each axis by its own width: neither has a meaning."""
    low, high = points.min(axis=0), points.max(axis=0)
    inner = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    scaled = np.where(high > low, (points - low) / np.where(high > low, high - low, 1), 0.5)
    return _MARGIN + scaled * inner


def _legend_rows(names: Sequence[str], note: str) -> list[list[tuple[str, float]]]:
    """Returns rows of (name, x); the note, at the right end, has a row to itself if need be."""
    rows: list[list[tuple[str, float]]] = [[]]
    across = 10.0
    for name in names:
        width = 28 + text_width(fitted(name, _WIDEST_NAME, SMALL), SMALL)
        if rows[-1] and across + width > _WIDTH:
            rows.append([])
            across = 10.0
        rows[-1].append((name, across))
        across += width
    if note and rows[-1] and across + text_width(note, SMALL) > _WIDTH:
        rows.append([])
    return rows


def _draw_legend(
    axes: Axes,
    rows: list[list[tuple[str, float]]],
    note: str,
    styles: dict[str, tuple[str, str]],
) -> None:
    height = _LINE * len(rows) + 12
    axes.set(xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    for i, row in enumerate(rows):
        for name, across in row:
            color, marker = styles[name]
            down = _LINE * (i + 0.5)
            axes.plot(across, down, marker, color=color, markersize=6, markeredgewidth=0)
            shown = fitted(name, _WIDEST_NAME, SMALL)
            axes.text(across + 9, down, shown, fontsize=SMALL, color=INK, va="center")
    down = _LINE * (len(rows) - 0.5)
    axes.text(_WIDTH - 6, down, note, fontsize=SMALL, color=MUTED, ha="right", va="center")

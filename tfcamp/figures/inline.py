"""An SVG figure made part of an HTML page: its own names, the page's colours and fonts."""

import re
from xml.etree import ElementTree

from tfcamp.figures.style import SHADES

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
# What a figure is made of. Anything else, a script above all, has no place in a report.
_ELEMENTS = {
    *("svg", "g", "defs", "clipPath", "use", "image", "text", "tspan"),
    *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
}
_ATTRIBUTES = {
    *("id", "href", "viewBox", "transform", "clip-path", "style", "fill", "stroke", "opacity"),
    *("d", "points", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry"),
    *("width", "height"),
}
_VARIABLES = {shade.light: f"var(--{name.replace('_', '-')})" for name, shade in SHADES.items()}


def inline_svg(svg: str, prefix: str, label: str) -> tuple[str, float]:
    """Returns a figure as an element for an HTML page, and its width in CSS pixels.

    Several figures made by matplotlib on one page would share names ("axes_1", clip paths), and the
    first figure's clip path would cut the second: every name gets the prefix. Colours of the figure
    style become variables of the page, so that they follow light and dark; letters take the page's
    font. Only drawing elements are kept.

    Args:
      svg: an SVG document, as `figure_svg` makes it.
      prefix: of names; different for each figure of a page.
      label: what the figure shows, read out in its place.

    Raises:
      ValueError: `svg` is no SVG.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG document: {svg[:60]!r}") from error
    if root.tag != f"{_SVG}svg":
        raise ValueError(f"expected an SVG document, got the element {root.tag}")
    _clean(root, prefix)
    box = root.get("viewBox")
    if box is None:
        raise ValueError("the SVG document has no viewBox")
    width = float(box.split()[2])
    root.attrib = {"viewBox": box, "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True), width


def _clean(element: ElementTree.Element, prefix: str) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    if _HREF in element.attrib:
        element.set("href", element.attrib[_HREF])
    element.attrib = {
        name: _adapt(name, value, prefix)
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and not (name == "href" and not _is_local(value))
    }
    for child in list(element):
        if child.tag.removeprefix(_SVG) in _ELEMENTS:
            _clean(child, prefix)
        else:
            element.remove(child)


def _is_local(reference: str) -> bool:
    return reference.startswith(("#", "data:image/png;", "data:image/jpeg;"))


def _adapt(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if name == "style":
        value = re.sub(r"font-family:[^;]*(;|$)", "", value)
        value = re.sub(r"#[0-9a-f]{6}\b", lambda match: _VARIABLES.get(match[0], match[0]), value)
    return re.sub(r"url\(#", f"url(#{prefix}", value)

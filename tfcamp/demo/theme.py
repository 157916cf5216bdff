"""The look of the page: the colours of the figures, and fonts that the reader's machine has."""

from importlib import resources

from gradio.themes import Base

from tfcamp.figures.style import SHADES

_FONTS = (
    *("system-ui", "Segoe UI", "Roboto", "Noto Sans"),
    *("PingFang SC", "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "sans-serif"),
)


def theme() -> Base:
    """Returns gradio's plainest theme in the colours of the figures; it loads no fonts."""
    colors = {
        "body_background_fill": "paper",
        "background_fill_primary": "paper",
        "block_background_fill": "paper",
        "body_text_color": "ink",
        "body_text_color_subdued": "muted",
        "block_label_text_color": "muted",
        "block_title_text_color": "muted",
        "block_info_text_color": "muted",
        "border_color_primary": "rule",
        "input_background_fill": "paper",
        "input_border_color": "rule",
        "input_border_color_focus": "blue",
        "button_primary_background_fill": "fill",
        "button_primary_background_fill_hover": "fill",
        "button_primary_text_color": "on_fill",
        "checkbox_background_color_selected": "fill",
        "checkbox_label_background_fill": "paper",
        "checkbox_label_background_fill_selected": "paper",
        "link_text_color": "blue",
        "color_accent": "blue",
    }
    plain = Base(font=_FONTS, font_mono=("ui-monospace", "monospace"))
    values = {name: f"var(--{color.replace('_', '-')})" for name, color in colors.items()}
    has_dark = {name for name in values if hasattr(plain, f"{name}_dark")}
    return plain.set(**values, **{f"{name}_dark": values[name] for name in has_dark})


def head() -> str:
    """Returns the page's rules and, as variables for light and for dark, the colours of figures.

    For the head: what gradio takes as ``css`` it writes anew, with classes before each selector and
    at each comma in one.
    """

    def variables(side: str) -> str:
        pairs = ((name.replace("_", "-"), getattr(shade, side)) for name, shade in SHADES.items())
        return " ".join(f"--{name}: {color};" for name, color in pairs)

    rules = resources.files("tfcamp.demo").joinpath("page.css").read_text("utf-8")
    colors = f":root {{ {variables('light')} }}\n.dark {{ {variables('dark')} }}"
    # Han characters are drawn as the page's language has them.
    language = 'document.documentElement.lang = /\\/zh\\/?$/.test(location.pathname) ? "zh" : "en";'
    return f"<style>{colors}\n{rules}</style><script>{language}</script>"

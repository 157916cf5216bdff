"""Which column of a text file holds the text and which the label, and what is told of others."""

from collections.abc import Sequence
from typing import NamedTuple

# The first name that a header has is the text's, or the label's.
TEXT_COLUMNS = (
    *("text", "title", "sentence", "headline", "content", "review", "text_a"),
    *("文本", "标题", "内容"),
)
LABEL_COLUMNS = ("label", "category", "标签", "类别")
# What may stand beside a label and is no text: numbers of rows, and names of pictures.
_NO_TEXTS = ("id", "index", "file", "filename", "image")


class TextColumns(NamedTuple):
    """Where the text and the label stand in a row of `width` fields."""

    text: int
    label: int | None
    width: int

    @classmethod
    def in_header(cls, fields: Sequence[str]) -> "TextColumns | None":
        """Returns the columns that a header names, or None when the fields are no header.

        >>> TextColumns.in_header(["id", "类别", "标题"])
        TextColumns(text=2, label=1, width=3)
        """
        names = [field.strip().lower() for field in fields]
        text = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
        label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
        if text is None and label is not None and len(names) == 2:
            text = None if names[1 - label] in _NO_TEXTS else 1 - label
        if text is None or (label is None and len(names) > 1):
            return None
        return cls(text, label, len(names))


WITHOUT_HEADER = TextColumns(text=0, label=1, width=2)


def names_label(fields: Sequence[str]) -> bool:
    """Tells whether the fields of a first line are a header, which names the label."""
    return any(field.strip().lower() in LABEL_COLUMNS for field in fields)


def unnamed_columns(fields: Sequence[str], mark: str) -> str:
    """Says that a first line names no text, where columns are cut by a mark."""
    example = "text,label" if mark == "," else "text<TAB>label"
    return (
        f'expected a header that names the columns, such as "{example}", got '
        f"{shortened(mark.join(fields))}"
    )


def wrong_tab_count(fields: Sequence[str], columns: TextColumns, *, is_first: bool) -> str:
    """Says what is wrong with a tab-separated row of the wrong width.

    Args:
      fields: of the row.
      columns: what was expected.
      is_first: whether no line stands before it, which would show that tabs are meant.
    """
    if columns == WITHOUT_HEADER:
        expected = '"text<TAB>label"'
    else:
        expected = f"{num_columns(columns.width)} as in the header"
    hint = ""
    if len(fields) > columns.width:
        hint = "; a text cannot hold a tab here: use .csv or .jsonl"
        if is_first:
            hint = "; if there are more, a first line must name them, text and label among them"
        if not any(fields[columns.width :]):
            hint = "; a tab too many ends the line"
    elif is_first and fields[0].startswith("{"):
        hint = "; is it JSON, one object a line? then name it .jsonl"
    elif is_first and "," in fields[0]:
        hint = "; is the file comma-separated? then name it .csv"
    elif is_first:
        hint = '; if it holds texts without labels, its first line must be "text"'
    return f"expected {expected}, got {num_columns(len(fields))}{hint}"


def num_columns(count: int) -> str:
    """Returns a number of columns in words.

    >>> num_columns(1), num_columns(2)
    ('1 column', '2 columns')
    """
    return "1 column" if count == 1 else f"{count} columns"


def shortened(text: str, length: int = 40) -> str:
    """Returns the beginning of a text in quotes, for a message."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")

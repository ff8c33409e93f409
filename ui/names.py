"""Names and sentences that files or people bring, in the texts that Streamlit reads as Markdown."""

import re

_MARKS = re.compile(r"[\\`*{}\[\]<>$|~#]|:(?=\S)|&(?=[#\w])|(?<!\w)_|_(?!\w)")
"""What Markdown and Streamlit's additions give a meaning; `_` within a word and `:` before a space have none."""


def plain(text: str) -> str:
    """`text` with nothing in it that Markdown takes for a mark.

    A class may be called `![x](http://host/x.png)`, and a browser would fetch that picture. For every label, heading,
    caption, message and cell with such a name in it.
    """
    return _MARKS.sub(lambda found: f"\\{found[0]}", text)

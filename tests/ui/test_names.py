"""Names in Markdown: they come out letter for letter, whatever they hold."""

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ui.names import plain

PARSER = MarkdownIt("commonmark", {"html": True}).enable("strikethrough")
"""An independent reader of the same language."""
SIGNS = "![](){}<>*_`~\\&#;:$|/\"' ab1é"


@given(st.text(st.sampled_from(SIGNS), min_size=1).filter(lambda text: text == text.strip() and "\\\n" not in text))
@example("![x](http&#58;&#47;&#47;host/x.png)")
@example("<img src=x>")
@example("**loud** and ~~gone~~ `code` [away](http://host)")
def test_a_name_is_read_as_nothing_but_text(name):
    [inline] = PARSER.parseInline(f"x {plain(name)} x")
    assert {token.type for token in inline.children} <= {"text", "text_special"}
    assert "".join(token.content for token in inline.children) == f"x {name} x"


def test_colours_symbols_and_formulas_of_streamlit_are_not_begun():
    assert plain(":red[x] :material/home: $x$") == r"\:red\[x\] \:material/home: \$x\$"


def test_an_ordinary_sentence_stays_readable():
    sentence = "cat_001.jpg cannot be used: it is empty, 3 of 5."
    assert plain(sentence) == sentence

"""The histogram and the numbers of one layer as HTML. Its style is in page.css (.pe-facts)."""

from collections.abc import Mapping
from html import escape

from explorer.texts.translate import _


def facts_html(histogram: str, words: str, rows: Mapping[str, str], layer: str) -> str:
    """Both side by side, or one below the other in a narrow place.

    histogram: HTML; words: the text below it; rows: names and texts of the table; layer: its name.
    """
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    alt = escape(_("Counts and statistics of {layer}.", layer=layer))
    return (
        f'<div class="pe-facts"><div>{histogram}<p>{escape(words)}</p></div>'
        f'<table aria-label="{alt}"><caption>{escape(_("In numbers"))}</caption>'
        f"<tbody>{cells}</tbody></table></div>"
    )

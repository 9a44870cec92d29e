"""A small picture of its pattern beside each granularity in the side bar's menu.

Streamlit's select box has plain labels. Its entries carry their numbers (`data-key`), so a style
adds the pictures: they are decoration, and screen readers and keys find the same menu.
"""

from collections.abc import Iterable

from explorer.charts.patterns import flat_png
from explorer.charts.raster import data_uri
from pruning_core.granularity import Granularity

MENU = (
    'body:has(.st-key-granularity [aria-expanded="true"]) '
    '[data-testid="stSelectboxVirtualDropdown"]'
)
LOOK = f"""
{MENU} {{ width: max-content !important; }}
{MENU} [data-item-hl]::before {{
  content: ""; flex: none; width: 55px; height: 27px; margin-right: 0.6rem;
  background: currentColor; mask: var(--picture) no-repeat left center;
}}
"""
"""The picture is a mask: it has the colour of the text, in both themes."""


def menu_style(entries: Iterable[Granularity]) -> str:
    """The style for a menu of these entries, in this order."""
    rules = (
        f'{MENU} [data-key="{at}"] {{ --picture: url({data_uri(flat_png(g))}); }}'
        for at, g in enumerate(entries)
    )
    return f"<style>{LOOK}{''.join(rules)}</style>"

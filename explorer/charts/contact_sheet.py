"""Many small pictures with texts in one HTML element, with sharp pixels.

A chart for each picture would be slow. All texts are escaped. Grey lines have the same colour in
light and dark mode; texts have the page's colour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from explorer.charts.palette import CHOSEN, KEPT, translucent
from explorer.charts.raster import data_uri
from pruning_core.types import Evaluation

LINE = "rgba(127, 135, 147, 0.4)"
STYLE = f"""<style>
.pe-sheet {{
  display: grid; gap: 0.75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--card)), 1fr));
}}
.pe-sheet > .card {{
  border: 1px solid {LINE}; border-radius: 8px; padding: 0.6rem 0.75rem 0.7rem; margin: 0;
  font-size: 0.87rem; line-height: 1.4; min-width: 0;
}}
.pe-sheet > .card.chosen {{ outline: 2px solid {CHOSEN}; outline-offset: -1px; }}
.pe-sheet > .card.off {{ border-style: dashed; opacity: 0.72; }}
.pe-sheet header {{
  display: flex; gap: 0.5rem; justify-content: space-between; align-items: baseline;
  margin-bottom: 0.35rem;
}}
.pe-sheet header b {{ font-size: 0.95rem; font-weight: 600; overflow-wrap: anywhere; }}
.pe-sheet header small {{
  border: 1px solid {LINE}; border-radius: 99px; padding: 0 0.5em; white-space: nowrap;
}}
.pe-sheet .shots {{
  display: flex; gap: 0.6rem; align-items: flex-start; margin-bottom: 0.4rem;
  min-height: var(--tall);
}}
.pe-sheet figure {{ margin: 0; min-width: 0; }}
.pe-sheet figcaption {{ font-size: 0.78rem; opacity: 0.8; }}
.pe-sheet img {{ display: block; max-width: 100%; image-rendering: pixelated; }}
.pe-sheet img.smooth {{ image-rendering: auto; }}
.pe-sheet p {{ margin: 0; overflow-wrap: anywhere; }}
.pe-sheet .off p, .pe-sheet p.soft {{ opacity: 0.8; font-size: 0.82rem; }}
.pe-sheet .track {{
  position: relative; height: 10px; margin: 0.4rem 0 0.3rem; border-radius: 2px;
  background: rgba(127, 135, 147, 0.18);
}}
.pe-sheet .track i {{
  position: absolute; top: 0; bottom: 0; background: {translucent(KEPT, 0.45)};
  border: 0 solid {KEPT}; border-width: 0 1px;
}}
.pe-sheet .track b {{
  position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1px; background: {KEPT};
}}
.pe-sheet .track s {{
  position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 2px dotted currentColor;
}}
</style>"""


@dataclass(frozen=True)
class Shot:
    """One picture.

    width, height: on the page, in pixels.
    label: the text below it.
    alt: what it shows.
    smooth: the browser may smooth the pixels, where the picture has more than the page shows.
    """

    png: bytes
    alt: str
    width: int
    height: int
    label: str = ""
    smooth: bool = False


@dataclass(frozen=True)
class Bar:
    """An accuracy on a line from 0 to 100%.

    value: a mark; low, high: its interval, a band; beside: a dotted mark to compare with. All are
    fractions in [0, 1].
    """

    value: float
    low: float
    high: float
    beside: float


def bar_of(measured: Evaluation, dense: Evaluation) -> Bar | None:
    """The bar of a value beside the dense network's; None where it is not a fraction."""
    if not measured.task.percent:
        return None
    return Bar(measured.value, *measured.interval, dense.value)


@dataclass(frozen=True)
class Card:
    """One item of the sheet.

    tag: a word in the corner; lines: the texts below the pictures, the first one is darker; chosen:
    with an outline; off: paler, with a dashed border.
    """

    title: str
    lines: tuple[str, ...]
    shots: tuple[Shot, ...] = ()
    bar: Bar | None = None
    tag: str = ""
    chosen: bool = False
    off: bool = False


def sheet(cards: Sequence[Card], *, width: int) -> str:
    """The cards in rows. Each card is at least `width` pixels wide."""
    tall = max(
        (shot.height + 18 * bool(shot.label) for card in cards for shot in card.shots), default=0
    )
    items = "".join(_card(card) for card in cards)
    look = f"--card: {width}px; --tall: {tall}px"
    return f'{STYLE}<div class="pe-sheet" role="list" style="{look}">{items}</div>'


def plate(shot: Shot) -> str:
    """A single picture, without rounded corners."""
    return f'{STYLE}<div class="pe-sheet" style="--card: 100%">{_shot(shot)}</div>'


def _card(card: Card) -> str:
    names = " ".join(
        name for name, on in (("card", True), ("chosen", card.chosen), ("off", card.off)) if on
    )
    tag = f"<small>{escape(card.tag)}</small>" if card.tag else ""
    shots = f'<div class="shots">{_join(map(_shot, card.shots))}</div>' if card.shots else ""
    lines = _join(
        f'<p class="{"soft" if index else "first"}">{escape(line)}</p>'
        for index, line in enumerate(card.lines)
    )
    head = f"<header><b>{escape(card.title)}</b>{tag}</header>"
    return f'<div role="listitem" class="{names}">{head}{shots}{_bar(card.bar)}{lines}</div>'


def _shot(shot: Shot) -> str:
    label = f"<figcaption>{escape(shot.label)}</figcaption>" if shot.label else ""
    pixels = "smooth" if shot.smooth else "sharp"
    look = f'class="{pixels}" width="{shot.width}" height="{shot.height}"'
    image = f'<img src="{data_uri(shot.png)}" alt="{escape(shot.alt)}" {look}>'
    return f"<figure>{image}{label}</figure>"


def _bar(bar: Bar | None) -> str:
    """The line is hidden from screen readers, because the text below has the same numbers."""
    if bar is None:
        return ""
    low, value, high, beside = (
        f"{100 * fraction:.2f}%" for fraction in (bar.low, bar.value, bar.high, bar.beside)
    )
    band = f'<i style="left: {low}; right: calc(100% - {high})"></i>'
    marks = f'<b style="left: {value}"></b><s style="left: {beside}"></s>'
    return f'<div class="track" aria-hidden="true">{band}{marks}</div>'


def _join(parts: Iterable[str]) -> str:
    return "".join(parts)

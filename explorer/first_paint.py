"""The server's first answer: Streamlit's own page with the app's style in its head.

Streamlit sends a style with the other elements, after the first paint: what is painted before it
would then move. Streamlit asks for the script of an element only when the element is there; the
links here let the browser load those scripts while the server computes.
"""

import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from explorer.pages import FIRST, LEARN, PAGES

ADDRESSES = tuple("" if path == FIRST else path for _title, _icon, path in PAGES)
"""The paths of the pages with a side bar; the first page has the empty one."""
STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("first_paint.js")
"""The side bar's place, where a page without one is left."""
KEPT_CHARTS = Path(__file__).with_name("kept_charts.js")
"""Shows a chart until the next one with its key is drawn."""
STATIC = Path(streamlit.__file__).parent / "static"
PAGE = STATIC / "index.html"
ELEMENTS = (
    "BidiComponent",
    "Button",
    "ButtonGroup",
    "Checkbox",
    "Html",
    "ImageList",
    "Metric",
    "NumberInput",
    "Selectbox",
    "Slider",
)
"""Streamlit's elements of the side bar and of Explore, as it opens, whose scripts are not part of
Streamlit's page."""
PRELOAD = '<link rel="modulepreload" crossorigin fetchpriority="low" href="./{}">'
"""As Streamlit's page links its own scripts."""


def routes() -> list[Route]:
    """One per page."""
    return [
        Route(f"/{address}", partial(_answer, address == LEARN), methods=["GET"])
        for address in (*ADDRESSES, LEARN)
    ]


@cache
def scripts() -> tuple[str, ...]:
    """The files of ELEMENTS, and what they import, but for what Streamlit's page has anyway."""
    built = json.loads((STATIC / "manifest.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")

    def needed(name: str) -> Iterator[str]:
        yield built[name]["file"]
        for imported in built[name].get("imports", ()):
            yield from needed(imported)

    wanted = (name for name in built if Path(name).name.split(".")[0].lstrip("_") in ELEMENTS)
    files = dict.fromkeys(file for name in wanted for file in needed(name))
    return tuple(file for file in files if file.endswith(".js") and file not in page)


def styled_page(*, bare: bool) -> str:
    """Streamlit's page with the style at the end of its head. bare: without a side bar.

    An unknown address gets Streamlit's page without the script: only a mark that is sent with the
    script may wait for it.
    """
    head = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
    links = "".join(map(PRELOAD.format, scripts()))
    if bare:
        links = f'<template id="other-pages">{links}</template>'
    links += f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    links += f'<script type="module">{KEPT_CHARTS.read_text(encoding="utf-8")}</script>'
    page = PAGE.read_text(encoding="utf-8").replace("</head>", f"{head}{links}</head>", 1)
    mark = "data-bare" if bare else "data-first-paint"
    return page.replace("<html", f"<html {mark}", 1)


async def _answer(bare: bool, _request: Request) -> HTMLResponse:
    return HTMLResponse(styled_page(bare=bare), headers={"Cache-Control": "no-cache"})

"""The server's first answer: Streamlit's own page with the app's style in its head.

Streamlit sends a style with the other elements, after the first paint: what is painted before it
would then move.
"""

from functools import partial
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

ADDRESSES = ("", "sensitivity", "search", "finetune", "flows", "methods", "runs", "export")
"""The paths of the pages with a side bar; Explore has the empty one."""
BARE = "learn"
"""The path of the page without a side bar."""
STYLE = Path(__file__).with_name("page.css")
PAGE = Path(streamlit.__file__).parent / "static" / "index.html"


def routes() -> list[Route]:
    """One per page."""
    return [
        Route(f"/{address}", partial(_answer, address == BARE), methods=["GET"])
        for address in (*ADDRESSES, BARE)
    ]


def styled_page(*, bare: bool) -> str:
    """Streamlit's page with the style at the end of its head. bare: without a side bar."""
    style = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
    page = PAGE.read_text(encoding="utf-8").replace("</head>", f"{style}</head>", 1)
    return page.replace("<html", "<html data-bare", 1) if bare else page


async def _answer(bare: bool, _request: Request) -> HTMLResponse:
    return HTMLResponse(styled_page(bare=bare), headers={"Cache-Control": "no-cache"})

"""The server's first answer: Streamlit's own page with the app's style in its head.

Streamlit sends a style with the other elements, after the first paint: what is painted before it
would then move.
"""

from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

ADDRESSES = ("", "sensitivity", "search", "finetune", "flows", "methods", "runs", "export")
"""The paths of the pages with a side bar; Explore has the empty one."""
STYLE = Path(__file__).with_name("page.css")
PAGE = Path(streamlit.__file__).parent / "static" / "index.html"


def routes() -> list[Route]:
    """One per page."""
    return [Route(f"/{address}", _answer, methods=["GET"]) for address in ADDRESSES]


def styled_page() -> str:
    """Streamlit's page with the style at the end of its head."""
    style = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
    return PAGE.read_text(encoding="utf-8").replace("</head>", f"{style}</head>", 1)


async def _answer(_request: Request) -> HTMLResponse:
    return HTMLResponse(styled_page(), headers={"Cache-Control": "no-cache"})

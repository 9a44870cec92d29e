"""The server's first answer: Streamlit's page with the app's style and scripts of elements."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from explorer import script
from explorer.app import MODULES
from explorer.first_paint import (
    ADDRESSES,
    ELEMENTS,
    KEPT_CHARTS,
    PAGE,
    SCRIPT,
    STATIC,
    STYLE,
    routes,
    scripts,
)


def test_every_page_is_streamlits_own_with_style_and_scripts_in_its_head() -> None:
    assert set(ADDRESSES) == {"", *MODULES} - {"explore"}
    server = TestClient(Starlette(routes=routes()))
    head, rest = PAGE.read_text(encoding="utf-8").split("</head>")
    style = STYLE.read_text(encoding="utf-8")
    links = "".join(
        f'<link rel="modulepreload" crossorigin fetchpriority="low" href="./{file}">'
        for file in scripts()
    )
    script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    script += f'<script type="module">{KEPT_CHARTS.read_text(encoding="utf-8")}</script>'
    for address in ADDRESSES:
        answer = server.get(f"/{address}?sparsity=0.5")
        page = f"{head}<style>{style}</style>{links}{script}</head>{rest}"
        assert answer.text == page.replace("<html", "<html data-first-paint"), address
        assert answer.headers["Cache-Control"] == "no-cache", address
    later = f'<template id="other-pages">{links}</template>'
    bare = f"{head}<style>{style}</style>{later}{script}</head>{rest}".replace(
        "<html", "<html data-bare"
    )
    assert server.get("/learn?lesson=why").text == bare
    assert server.get("/vendor").status_code == 404


def test_each_element_has_its_script_and_the_page_links_none_twice() -> None:
    files = scripts()
    assert {Path(file).name.split(".")[0] for file in files} >= set(ELEMENTS)
    assert len(set(files)) == len(files)
    assert all((STATIC / file).is_file() for file in files)
    assert not [file for file in files if file in PAGE.read_text(encoding="utf-8")]


def test_no_folder_of_pages_is_beside_the_script_that_streamlit_runs() -> None:
    """Else Streamlit says on a new server that the page of a link was not found."""
    assert Path(script.__file__).with_name("visit.py").is_file()
    assert not Path(script.__file__).with_name("pages").exists()

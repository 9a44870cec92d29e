"""The first answer of the server: Streamlit's page with the app's style."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from explorer import script
from explorer.app import LEARN, PAGES
from explorer.first_paint import ADDRESSES, BARE, PAGE, STYLE, routes


def test_every_page_is_streamlits_own_with_the_style_in_its_head() -> None:
    assert set(ADDRESSES) == {"", *(entry[-1] for entry in PAGES)} - {"explore"}
    server = TestClient(Starlette(routes=routes()))
    head, rest = PAGE.read_text(encoding="utf-8").split("</head>")
    style = STYLE.read_text(encoding="utf-8")
    for address in ADDRESSES:
        answer = server.get(f"/{address}?sparsity=0.5")
        assert answer.text == f"{head}<style>{style}</style></head>{rest}", address
        assert answer.headers["Cache-Control"] == "no-cache", address
    assert BARE == LEARN
    bare = f"{head}<style>{style}</style></head>{rest}".replace("<html", "<html data-bare")
    assert server.get("/learn?lesson=why").text == bare
    assert server.get("/vendor").status_code == 404


def test_no_folder_of_pages_is_beside_the_script_that_streamlit_runs() -> None:
    """Else Streamlit says on a new server that the page of a link was not found."""
    assert Path(script.__file__).with_name("visit.py").is_file()
    assert not Path(script.__file__).with_name("pages").exists()

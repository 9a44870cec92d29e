"""Stored bytes on the page Export: computed with the plan, and measured on request."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from explorer.pages.export.storage import AS_PAPERS, LEAD
from pruning_core.plan import Plan
from tests.explorer.driven import text

Open = Callable[..., AppTest]


def test_sizes_follow_the_plan_and_files_are_measured_on_request(open_view: Open) -> None:
    at = open_view("export", sparsity="0.9")
    assert LEAD in text(at)
    rows = at.dataframe[0].value.set_index("Format")
    assert set(rows["How known"]) == {"computed"}
    assert rows["Bytes"]["Bitmap"] < rows["Bytes"]["Dense"] / 5
    assert rows["Smaller above sparsity"]["CSR"].startswith("5")
    assert all(rows["Which program reads it"])
    assert at.selectbox(key="index_bits").value == AS_PAPERS
    fewer = at.selectbox(key="index_bits").select(2).run().dataframe[0].value.set_index("Format")
    assert fewer["Bytes"]["Relative index"] > rows["Bytes"]["Relative index"]
    assert fewer["Bytes"]["Bitmap"] == rows["Bytes"]["Bitmap"]
    at.button(key="storage_write").click().run()
    written = at.dataframe[0].value.set_index("Format")
    measured = written[written["How known"] == "measured"]
    assert list(measured.index) == ["gzip of the dense file", "xz of the dense file", "Sparse file"]
    assert measured["Bytes"]["Sparse file"] == min(written["Bytes"])
    assert Plan.from_json(at.session_state["_plan"]).sparsity == 0.9

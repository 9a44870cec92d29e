"""Stored bytes on the page Export: computed with the plan, and measured on request."""

from collections.abc import Callable
from dataclasses import replace

from streamlit.testing.v1 import AppTest

from explorer.pages.export.page import subject_of
from explorer.pages.export.storage import AS_PAPERS, LEAD
from explorer.session import cache
from pruning_core.compress.sparse_file import read_sparse, write_sparse
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


def test_shared_weights_are_measured_and_the_sparse_file_holds_them(open_view: Open) -> None:
    at = open_view("export", sparsity="0.8")
    assert "shared weights" not in text(at)
    at.selectbox(key="share_bits").select(3).run()
    assert "**3-bit shared weights**: accuracy" in text(at)
    assert "n = 359" in text(at)
    rows = at.dataframe[0].value.set_index("Format")
    assert rows["How known"]["Shared + Huffman"] == "computed"
    size = rows["Bytes"]["Sparse file, 3 bits shared"]
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace("lenet5", "digits")
    files = subject_of(plan, space, None).files
    shared = read_sparse(replace(files, share_bits=3).make("sparse.safetensors"))
    assert len(shared["fc1.weight"].unique()) <= 9
    assert len(read_sparse(files.make("sparse.safetensors"))["fc1.weight"].unique()) > 1000
    plain = write_sparse(shared, files.by_parameter())
    assert size == len(plain)


def test_in_another_language_the_choices_have_its_labels_and_stay(open_view: Open) -> None:
    """A browser goes on with the old label of a box that is not set again."""
    at = open_view("export")
    at.selectbox(key="share_bits").set_value(6).run()
    at.query_params["lang"] = "zh"
    at.run()
    shown = {key: at.selectbox(key=key) for key in ("index_bits", "share_bits")}
    assert {key: box.proto.raw_value for key, box in shown.items() if box.proto.set_value} == {
        "index_bits": "与论文相同",
        "share_bits": "6",
    }

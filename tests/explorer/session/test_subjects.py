"""The user's own networks in the side bar and on the pages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session.url import read
from pruning_core.subjects import subject_files
from pruning_core.workspaces import known_datasets, known_models
from tests.explorer.driven import by_key, run, text
from tests.third_party import write_package

NAMES = {"model": "pictures", "dataset": "pictures_data"}


@pytest.fixture(scope="module", autouse=True)
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = write_package(tmp_path_factory.mktemp("pages"), "pages_package")
    with subject_files([file]):
        yield file


def sidebar(at: AppTest) -> str:
    return "\n".join(element.value for element in at.sidebar.caption)


@pytest.mark.parametrize(
    "view", ["explore", "sensitivity", "search", "finetune", "flows", "methods", "export"]
)
def test_every_page_opens_a_subject(open_view: Callable[..., AppTest], view: str) -> None:
    at = open_view(view, **NAMES)
    assert not at.error, text(at)
    assert by_key(at, "model").options[0] == "Somebody's classifier"
    assert by_key(at, "dataset").label == "Data"
    assert by_key(at, "dataset").options == ["Data of Somebody's classifier"]
    assert "A tenth of train=" in sidebar(at)
    assert "[pictures] in " in sidebar(at)


def test_a_subject_that_fails_leaves_the_rest_usable(open_view: Callable[..., AppTest]) -> None:
    at = open_view("explore", model="broken", dataset="broken_data")
    (error,) = at.error
    assert "does_not_exist" in error.value
    assert "nets.py, line" in error.value
    by_key(at, "model").set_value("pictures")
    run(at)
    assert not at.error
    assert at.query_params["model"] == "pictures"
    assert at.query_params["dataset"] == "pictures_data"


def test_a_network_that_cannot_be_opened_is_not_said_to_open_with_its_only_data(
    open_view: Callable[..., AppTest],
) -> None:
    at = open_view("explore", model="broken", dataset="broken_data")
    assert at.main.error
    assert not any("can be opened" in text.value for text in at.main.markdown)
    assert next(button.label for button in at.main.button) == "Try again"


def test_an_address_only_selects_among_names(file: Path) -> None:
    known = {"model": tuple(known_models()), "dataset": tuple(known_datasets())}
    for name in ("pages_package.nets:Classifier", str(file), "../pictures", "os:getcwd"):
        plan, sentences = read({"model": name}, known)
        assert plan.model == "resnet20"
        assert len(sentences) == 1


def test_a_file_that_breaks_while_the_server_runs_gives_a_warning(
    open_view: Callable[..., AppTest], tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[other]\nmodel = "a.b:c"\ndata = "a.b:d"')
    with subject_files([other]):
        other.write_text("[other]\nmodel = ")
        at = open_view("export", **NAMES)
    assert [warning for warning in at.warning if "is not valid TOML" in warning.value]
    assert not at.error


def test_a_label_with_markdown_is_shown_as_text(
    open_view: Callable[..., AppTest], file: Path
) -> None:
    table = file.read_text().partition("[looking]")[0].replace("[pictures]", "[marked]")
    marked = file.parent / "marked.toml"
    marked.write_text(table.replace("Somebody's classifier", "**a** [b](http://c)"))
    with subject_files([marked]):
        for view in ("finetune", "flows", "export"):
            at = open_view(view, model="marked", dataset="marked_data")
            shown = [
                x.value for x in (*at.main.caption, *at.main.markdown) if "http://c" in x.value
            ]
            assert shown, view
            assert all(r"\*\*a\*\* [b\](`http://c`)" in words for words in shown), (view, shown)

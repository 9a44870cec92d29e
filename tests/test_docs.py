"""The documentation agrees with the code: choices, networks and accuracy, links, examples."""

import re
import tomllib
from pathlib import Path

import pytest
from streamlit.web.server.starlette.starlette_routes import ROUTE_HEALTH, ROUTE_METRICS
from streamlit.web.server.starlette.starlette_websocket import _ROUTE_WEBSOCKET_STREAM

from explorer.limits import Limits
from explorer.limits import markdown as limits_table
from explorer.metrics import markdown as metrics_table
from explorer.pages import PAGES as APP_PAGES
from explorer.pages.learn.lessons import LESSONS
from explorer.serving import PROTECTED
from explorer.session import page_language
from explorer.session.notices import MOST_NOTES
from explorer.session.url import MAX_LENGTH
from explorer.texts import translate
from explorer.texts.lessons import text as lesson_text
from explorer.texts.translate import _
from pruning_core.cli import help_page
from pruning_core.cli.choices import AXES, markdown
from pruning_core.errors import MAX_MESSAGE
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.training.config import MAX_BATCH, MAX_EPOCHS, MAX_SEED
from pruning_core.zoo import ARCHITECTURES, available, card
from pruning_core.zoo.uploads.store import MAX_STORED
from tests.test_architecture import LAYERS

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "pruning_core"
DOCS = ROOT / "docs"
PAGES = (
    *("architecture", "choices", "cli", "extending", "history", "lessons", "lessons_zh"),
    *("models", "pages", "performance", "readme_zh", "references", "results", "serving"),
    "thinning",
)
README = ROOT / "README.md"
DOCUMENTATION = tuple(DOCS / f"{name}.md" for name in PAGES)
EVERY = (README, ROOT / "CONTRIBUTING.md", *DOCUMENTATION)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_readme_has_at_most_500_words() -> None:
    assert len(text(README).split()) <= 500


def test_the_pages_of_the_documentation_are_these() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_links_and_pictures_lead_to_files(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", text(path), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", prose)
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_linked_in_the_readme(page: str) -> None:
    assert f"](docs/{page}.md)" in text(README)


@pytest.mark.parametrize("path", [README, *DOCUMENTATION], ids=lambda path: path.stem)
def test_python_examples_run(path: Path) -> None:
    """CONTRIBUTING.md's recipes change the registries: tests/test_contributing.py runs them."""
    for block in re.findall(r"```python\n(.*?)```", text(path), re.DOTALL):
        exec(compile(block, str(path), "exec"), {})


@pytest.mark.parametrize(("path", "language"), [(README, "en"), (DOCS / "readme_zh.md", "zh")])
def test_the_readme_has_a_line_for_each_page_of_the_app(path: Path, language: str) -> None:
    named = re.findall(r"^\| \*\*(.+?)\*\* \|", text(path), re.M)
    translate.follow(lambda: language)
    titles = [_(title) for title, *_more in APP_PAGES]
    learn = _("Learn")
    translate.follow(page_language.language)
    assert named == [*titles, learn]


@pytest.mark.parametrize(("page", "language"), [("lessons", "en"), ("lessons_zh", "zh")])
def test_the_lessons_are_those_of_the_page_learn(page: str, language: str) -> None:
    listed = re.findall(r"^(\d+)\. \*\*(.*?)\*\* (.*?) `(.*?)`$", text(DOCS / f"{page}.md"), re.M)
    assert listed == [
        (
            str(number),
            lesson_text(f"{name}.title", language),
            lesson_text(f"{name}.lead", language),
            f"/learn?lesson={name}&lang={language}",
        )
        for number, name in enumerate(LESSONS, 1)
    ]


def test_choices_are_those_of_the_code() -> None:
    """If not: pruning list --markdown > docs/choices.md."""
    page = text(DOCS / "choices.md")
    assert page == markdown()
    names = [name for entries in (*AXES.values(), SENSITIVITY_RULES) for name in entries]
    assert not [name for name in names if f"| `{name}` |" not in page]


def test_the_references_name_every_source_on_arxiv() -> None:
    named = set(re.findall(r"arXiv:(\d{4}\.\d+)", text(DOCS / "choices.md")))
    assert named <= set(re.findall(r"arxiv\.org/abs/(\d{4}\.\d+)", text(DOCS / "references.md")))


def test_the_command_line_is_that_of_the_code() -> None:
    """If not: python -m pruning_core.cli.help_page > docs/cli.md."""
    assert text(DOCS / "cli.md") == help_page.markdown()


def test_layers_are_those_of_the_architecture_test() -> None:
    rows = re.findall(r"^\| ([a-z ,]+) \| ((?:`\w+/?` ?)+)\|", text(DOCS / "architecture.md"), re.M)
    page = {layer: " ".join(re.findall(r"`(\w+)/?`", parts)) for layer, parts in rows}
    assert {layer: parts for layer, parts in page.items() if layer in LAYERS} == {
        layer: " ".join(parts.split()) for layer, parts in LAYERS.items()
    }


def zoo_row(arch: str, dataset: str) -> str:
    """The line of a checkpoint, from its card."""
    made = card(arch, dataset)
    low, high = made.test_interval
    accuracy = f"{made.test_top1:.2%} ({low:.1%} to {high:.1%}, n = {made.test_images:,})"
    label = ARCHITECTURES[arch].label
    return f"| {label} | `{arch}` | {dataset} | {accuracy} | {made.parameters:,} | {made.macs:,} |"


def test_every_shipped_checkpoint_has_its_row() -> None:
    shipped = [
        pair
        for pair in available()
        if (CORE / "zoo/weights" / f"{pair[0]}-{pair[1]}.json").exists()
    ]
    assert len(shipped) >= len(ARCHITECTURES)
    page = text(DOCS / "models.md")
    assert not [zoo_row(*pair) for pair in shipped if zoo_row(*pair) not in page]


def numbers(pattern: str) -> list[float]:
    """The numbers at the one place of the results that matches."""
    (match,) = re.findall(pattern, text(DOCS / "results.md"))
    return [float(number) for number in match]


def test_differences_from_dense_are_those_of_the_table_and_dense_is_the_card() -> None:
    dense = numbers(r"ResNet-20 \(dense ([\d.]+)%\) \| VGG \(dense ([\d.]+)%\)")
    assert dense == [
        round(100 * card(arch, "fashion_mnist").test_top1, 2) for arch in ("resnet20", "vgg")
    ]
    after = numbers(r"80% global magnitude \| ([\d.]+) ± [\d.]+% \| ([\d.]+) ± [\d.]+% \|")
    written = numbers(r"within ([\d.]+) \(ResNet-20\)\s+and ([\d.]+) \(VGG\) points of dense")
    assert written == [round(a - b, 2) for a, b in zip(dense, after, strict=True)]


def test_a_finer_granularity_keeps_more_accuracy_in_the_table() -> None:
    rows = re.findall(
        r"\| [^|]+, density 0\.3 \| ([\d.]+) ± [\d.]+% \| ([\d.]+) ± [\d.]+% \|",
        text(DOCS / "results.md"),
    )
    assert len(rows) == 4
    for column in zip(*rows, strict=True):
        assert sorted(map(float, column), reverse=True) == list(map(float, column))


def test_the_limits_of_a_server_are_those_of_the_code() -> None:
    """If not: python -c "from explorer.limits import markdown; print(markdown())"."""
    assert limits_table() in text(DOCS / "serving.md")
    assert metrics_table() in text(DOCS / "serving.md")
    config = tomllib.loads(text(ROOT / ".streamlit" / "config.toml"))["server"]
    assert config["maxUploadSize"] == Limits().upload_mb
    rows = {
        "uploads that are kept": f"{MAX_STORED >> 30} GB in all",
        "parameter of an address": f"{MAX_LENGTH:,} characters",
        "notes about an address": f"{MOST_NOTES}",
        "message of an error": f"{MAX_MESSAGE:,} characters",
        "epochs, batch size, seed": f"{MAX_EPOCHS:,}; {MAX_BATCH:,}; {MAX_SEED:,}",
    }
    lines = text(DOCS / "serving.md").splitlines()
    for start, limit in rows.items():
        (line,) = (line for line in lines if start in line and line.startswith("|"))
        assert f" | {limit} | " in line


def test_the_names_in_the_examples_of_a_proxy_are_those_of_the_code() -> None:
    page = text(DOCS / "serving.md")
    assert f"location ~ ^/({'|'.join(path[1:] for path in PROTECTED)})$" in page
    assert f"path {' '.join(PROTECTED)}" in page
    assert f"client_max_body_size {Limits().upload_mb}m;" in page
    for route in (ROUTE_HEALTH, _ROUTE_WEBSOCKET_STREAM, ROUTE_METRICS):
        assert f"/{route}" in page


def test_a_classifier_with_two_data_loaders_opens_in_three_lines() -> None:
    """The lines of docs/models.md that the user writes to open his own network."""
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", text(DOCS / "models.md"), re.DOTALL)
    own = [line for line in code.splitlines() if "pruning_core" in line or "workspace(" in line]
    assert 1 < len(own) <= 3
    assert own[-1] == "space = workspace(network, train=train, test=test)"
    names = own[0].partition("import")[2]
    assert "workspace" in names
    loaders = [line for line in code.splitlines() if "DataLoader(" in line]
    assert loaders[0].startswith("train, test = DataLoader(")

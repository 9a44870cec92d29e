"""The recipes of CONTRIBUTING.md, followed as they are written."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.app import MODULES
from explorer.texts.extract import marked
from pruning_core import Plan, TrainConfig, choose_masks, open_workspace, prune
from pruning_core.cli.main import main
from pruning_core.criteria import CRITERIA
from pruning_core.flows import FLOWS
from pruning_core.granularity import GRANULARITIES
from pruning_core.types import Finished, Masks, Pruned, PruningError, Tuned
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.recipes import train
from tests.core.test_registry import test_every_entry_describes_itself as check_entry

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHORT = TrainConfig(epochs=1, batch_size=256)


def follow(name: str) -> dict[str, Any]:
    """Runs the code of the recipe "Add a NAME"; returns what it defines."""
    section = TEXT.split(f"\n## Add a {name}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(code, f"Add a {name}", "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Every axis is as before after a recipe."""
    with (
        patch.dict(CRITERIA),
        patch.dict(GRANULARITIES),
        patch.dict(FLOWS),
        patch.dict(ARCHITECTURES),
    ):
        yield


def test_a_criterion_is_one_function_and_one_entry(capsys: pytest.CaptureFixture[str]) -> None:
    follow("criterion")
    check_entry("criterion", "square")
    space = open_workspace("lenet5", "digits")
    _, masks = choose_masks(Plan(model="lenet5", criterion="square", sparsity=0.5), space)
    _, expected = choose_masks(Plan(model="lenet5", sparsity=0.5), space)
    assert all(torch.equal(mask, expected[name]) for name, mask in masks.items())
    assert main(["list"]) == 0
    assert "Weights with a small square are removed first." in capsys.readouterr().out


def test_a_granularity_is_one_entry() -> None:
    follow("granularity")
    check_entry("granularity", "filter_row")
    space = open_workspace("lenet5", "digits")
    plan = Plan(model="lenet5", granularity="filter_row", sparsity=0.4)
    _, masks = choose_masks(plan, space)
    rows = masks["conv2.weight"].permute(0, 2, 1, 3).flatten(0, 1).flatten(1)
    assert bool((rows.all(1) | ~rows.any(1)).all())
    assert 0.35 < 1 - float(rows.double().mean()) < 0.45


def test_a_flow_is_one_class_and_one_entry() -> None:
    follow("flow")
    check_entry("flow", "prune_then_train")
    plan = Plan(model="lenet5", flow="prune_then_train:share=0.5", sparsity=0.8, fine_tune=SHORT)
    *events, done = prune(plan, open_workspace("lenet5", "digits"))
    assert isinstance(done, Finished)
    assert any(isinstance(event, Tuned) for event in events)
    assert done.report.sparsity_masked == pytest.approx(0.4, abs=0.01)


def masks_of(plan: Plan) -> Masks:
    events = prune(plan, open_workspace("lenet5", "digits"))
    return next(event.masks for event in events if isinstance(event, Pruned))


def test_the_facts_of_the_flow_are_true() -> None:
    """The page Flows offers what the facts say, such as the criterion."""
    follow("flow")
    plan = Plan(model="lenet5", flow="prune_then_train", fine_tune=SHORT)
    other = masks_of(replace(plan, criterion="random"))
    same = all(torch.equal(mask, other[name]) for name, mask in masks_of(plan).items())
    assert FLOWS["prune_then_train"].scored is not same
    with pytest.raises(PruningError, match="at least one epoch"):
        masks_of(replace(plan, fine_tune=TrainConfig(epochs=0)))


def test_a_page_is_one_module_and_two_lines() -> None:
    assert all(callable(module.render) for module in MODULES.values())
    assert callable(follow("page")["render"])
    section = TEXT.split("\n## Add a page\n")[1]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    opened = (
        "from explorer.session import cache\nfrom pruning_core.plan import Plan\n"
        "plan = Plan(model='lenet5', sparsity=0.5)\n"
        "render(plan, cache.workspace(plan.model, plan.dataset))\n"
    )
    app = AppTest.from_string(code + opened, default_timeout=60).run()
    assert not app.exception
    assert app.metric[0].value == "50%"


def test_a_text_has_one_of_three_marks_that_the_catalogues_read() -> None:
    made = follow("text, or a language")["texts"]
    shown = made(1200, 4000, 1, CRITERIA["magnitude_l1"])
    assert shown == ["All layers", "1,200 of 4,000 weights are kept.", "1 run", "Magnitude (L1)"]
    section = TEXT.split("\n## Add a text, or a language\n")[1]
    keys = [text.key for text in marked(section.split("```")[1].removeprefix("python"), "recipe")]
    assert keys == [*shown[:1], "{kept:,} of {total:,} weights are kept.", ("{n} run", "{n} runs")]


def test_a_network_is_one_function_and_one_entry(tmp_path: Path) -> None:
    follow("network")
    *_, last = train("two_layers", "digits", out=tmp_path, config=SHORT)
    assert isinstance(last, Tuned)
    assert (tmp_path / "two_layers-digits.safetensors").is_file()


def test_files_and_folders_that_a_recipe_names_exist() -> None:
    named = re.findall(r"`((?:\w+/)+[\w.]*)`", TEXT)
    assert "explorer/pages/__init__.py" in named
    assert not [path for path in named if not (ROOT / path).exists()]

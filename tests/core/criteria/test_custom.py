"""A criterion of the user's own, by module path. Reading a plan never imports it."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from pruning_core.cli.main import main
from pruning_core.criteria import CRITERIA, Criterion, criterion, is_custom
from pruning_core.criteria.custom import CustomObject
from pruning_core.model.inventory import inventory
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from tests.cases import check_each
from tests.core.toy import Toy, refusal, same_state, state

MODULE = '''
import torch
from dataclasses import replace
from pruning_core.criteria import CRITERIA, CriterionBase

def backwards(model, layers, batches):
    """Large weights are removed first; only the weights are read."""
    return {x.name: 1 / (1 + model.get_parameter(x.name).abs().reshape(x.shape)) for x in layers}

backwards.pool = "max_abs"
ready = replace(CRITERIA["magnitude_l1"], label="Mine", pool="l2")
number = 7

def short(model, layers, batches):
    return {x.name: torch.zeros(1) for x in layers[1:]}

def aliasing(model, layers, batches):
    return {x.name: model.get_parameter(x.name).view(x.shape) for x in layers}

def odd(model, layers, batches):
    return {}

odd.pool = "median"

def scored(change):
    def function(model, layers, batches):
        return {x.name: change(model.get_parameter(x.name).detach().view(x.shape)) for x in layers}
    return function

half = scored(lambda w: w.half())
whole = scored(lambda w: (100 * w).int())
double = scored(lambda w: w.double())
truth = scored(lambda w: w > 0)
array = scored(lambda w: w.numpy())
nan = scored(lambda w: w * float("nan"))
infinite = scored(lambda w: w.half() * 1e9)
too_large = scored(lambda w: w.double() * 1e200)
transposed = scored(lambda w: w.transpose(0, 1))
flat = scored(lambda w: w.flatten())
imaginary = scored(lambda w: w + 0j)
numbers = scored(lambda w: w.tolist())

def nothing(model, layers, batches):
    return None

def breaks(model, layers, batches):
    raise KeyError("fc9")

def leaves(model, layers, batches):
    raise SystemExit(3)

def writes(model, layers, batches):
    for parameter in model.parameters():
        parameter.data.zero_()
        parameter.requires_grad_(False)
    model.train()
    model.register_forward_hook(print)
    return {x.name: torch.ones(x.shape) for x in layers}

class Object(CriterionBase):
    """An object."""
    def __call__(self, model, layers, batches):
        return breaks(model, layers, batches)

broken = Object(label="Object", formula="s", source="mine")
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The user's module, importable in this test alone."""
    (tmp_path / "my_pruning.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_pruning", raising=False)
    yield "my_pruning"
    sys.modules.pop("my_pruning", None)


def test_a_function_is_a_criterion(mine: str) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    how = criterion(f"{mine}:backwards", seed=3)
    assert isinstance(how, Criterion)
    assert (how.label, how.pool, how.needs_data) == ("my_pruning:backwards", "max_abs", True)
    assert how == criterion(f"{mine}:backwards")
    assert repr(how) == "CustomCriterion(label='my_pruning:backwards', pool='max_abs')"
    scores = how(model, layers, ())
    assert all(torch.equal(scores[x.name].argmax(), torch.tensor(0)) for x in layers)
    assert all(how.supports(x) is None for x in layers)


def test_a_criterion_object_is_taken_as_it_is(mine: str) -> None:
    how = criterion(f"{mine}:ready")
    inner = replace(CRITERIA["magnitude_l1"], label="Mine", pool="l2")
    assert how == CustomObject(inner)
    assert isinstance(how, Criterion)
    assert (how.label, how.pool, how.needs_data, how.help) == ("Mine", "l2", False, inner.help)
    assert how.supports(inventory(Toy(), (1, 2, 2))[0]) is None


def test_scores_of_a_function_never_alias_the_model(mine: str) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    before = state(model)
    for scores in criterion(f"{mine}:aliasing")(model, layers, ()).values():
        scores.fill_(-1.0)
    assert same_state(model, before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("my_pruning:missing", "missing"),
        ("my_pruning:number", "neither a function"),
        ("my_pruning:CriterionBase", "neither a function"),
        ("my_pruning:odd", "median"),
    ],
)
def test_what_cannot_be_called_is_refused_in_a_sentence(mine: str, name: str, words: str) -> None:
    assert words in refusal(lambda: criterion(name))


def test_scores_of_another_shape_are_refused_in_a_sentence(mine: str) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    assert "0.weight" in refusal(lambda: criterion(f"{mine}:short")(model, layers, ()))
    assert "3.weight" in refusal(lambda: criterion(f"{mine}:short")(model, layers[::-1], ()))


def test_scores_of_every_real_type_become_float32(mine: str) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))

    def read(name: str) -> None:
        scores = criterion(f"{mine}:{name}")(model, layers, ())
        for layer in layers:
            values = scores[layer.name]
            own = model.get_parameter(layer.name).view(layer.shape)
            assert (values.dtype, tuple(values.shape)) == (torch.float32, layer.shape)
            assert values.ne(0).any()
            assert ((values > 0) <= (own > 0)).all()

    check_each(["half", "whole", "double", "truth", "array"], read)


WRONG = {
    "nan": "NaN, infinite",
    "infinite": "NaN, infinite",
    "too_large": "too large for float32",
    "transposed": "must give a tensor of shape",
    "flat": "must give a tensor of shape",
    "imaginary": "complex64",
    "numbers": "gives list for",
    "nothing": "gives nothing (None)",
    "breaks": "failed: KeyError: 'fc9'",
    "leaves": "failed: SystemExit",
    "broken": "failed: KeyError: 'fc9'",
}


def test_errors_name_the_criterion(mine: str) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))

    def refused(name: str, words: str) -> None:
        text = refusal(lambda: criterion(f"{mine}:{name}")(model, layers, ()))
        assert words in text
        assert ("Object" if name == "broken" else f"{mine}:{name}") in text

    check_each(WRONG.items(), refused)


def test_a_criterion_gets_a_copy_of_the_network(mine: str) -> None:
    model = Toy().eval()
    before = state(model)
    criterion(f"{mine}:writes")(model, inventory(model, (1, 2, 2)), ())
    assert same_state(model, before)
    assert not model.training
    assert not model._forward_hooks
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_plan_carries_the_path_and_imports_nothing(mine: str) -> None:
    plan = Plan(criterion=f"{mine}:backwards")
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan(criterion="no_such_module.deeper:f").criterion == "no_such_module.deeper:f"
    assert mine not in sys.modules


@pytest.mark.parametrize(
    "name", ["a:", ":b", "a:b:c", "a/b:c", "a:b()", "a b:c", "a.:b", "os.system", "1a:b"]
)
def test_other_texts_are_not_module_paths(name: str) -> None:
    assert not is_custom(name)
    assert "criterion" in refusal(lambda: Plan(criterion=name))
    assert not any(is_custom(known) for known in (*CRITERIA, "a:b\n"))


def test_the_command_line_runs_it(
    mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same layers and ratios as by magnitude, but the large weights are removed."""
    plan = Plan(
        model="lenet5", sparsity=0.5, criterion=f"{mine}:backwards", fine_tune=TrainConfig(epochs=0)
    )
    found = {}
    for each in (plan, replace(plan, criterion="magnitude_l1")):
        path = tmp_path / "plan.json"
        path.write_text(each.to_json())
        assert (
            main(["run", str(path), "--out", str(tmp_path / "out"), "--json", "--device", "cpu"])
            == 0
        )
        found[each.criterion] = json.loads(capsys.readouterr().out)
    ours = found[f"{mine}:backwards"]
    usual = found["magnitude_l1"]
    assert ours["computed"]["sparsity_masked"] == usual["computed"]["sparsity_masked"]
    assert ours["measured"]["pruned"]["top1"] < usual["measured"]["pruned"]["top1"] - 0.3


def test_an_import_that_fails_without_a_word_is_told_by_its_kind(mine: str, tmp_path: Path) -> None:
    (tmp_path / f"{mine}.py").write_text("raise ImportError")
    assert f"Importing the criterion {mine}:backwards failed: ImportError" in refusal(
        lambda: criterion(f"{mine}:backwards")
    )


def test_an_unknown_module_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    path.write_text(Plan(model="lenet5", criterion="no_such_module:f").to_json())
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "no_such_module" in capsys.readouterr().err


@dataclass(frozen=True)
class Half:
    """Lacks most of what a criterion offers, but can be called."""

    label: str = "Half"

    def __call__(self, *_args: object) -> dict[str, torch.Tensor]:
        return {}


def test_half_a_criterion_is_not_taken_for_one() -> None:
    assert not isinstance(Half(), Criterion)

"""A search of a real plan: its space, its budget, its file of evaluations, and what it refuses."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from pruning_core import Plan, PruningError, thin
from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import choose_masks, probe_split, pruned_copy
from pruning_core.search import TOLERANCE, Candidate
from pruning_core.search.evaluate import PlanEvaluate
from pruning_core.search.plan_space import PlanSpace
from pruning_core.search.run import SearchResult, SearchSettings, search
from pruning_core.types import Dataset
from pruning_core.workspaces import Workspace
from tests.core.toy import MemorySplit

PLAN = Plan(granularity="filter", probe=48, calibration=32, repair="bn")
TIED = ("stem.weight", "outer.weight")


class Residual(nn.Module):
    """A stem and a branch that are added, so that their channels are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.inner = nn.Conv2d(24, 40, 3, padding=1)
        self.outer = nn.Conv2d(40, 24, 3, padding=1)
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        return self.head((x + self.outer(self.inner(x).relu())).mean((2, 3)))


@pytest.fixture(scope="module")
def space() -> Workspace:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    split = MemorySplit(torch.rand(64, 1, 6, 6, generator=rng) + labels.view(-1, 1, 1, 1), labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual().eval()
        nn.init.uniform_(model.norm.bias)  # a value of zero is not counted where masks are
    data = Dataset("noise", tuple("abcd"), (1, 6, 6), split, split, split)
    return Workspace(model, data, inventory(model, (1, 6, 6)), ())


def run(
    space: Workspace, settings: SearchSettings, folder: Path
) -> tuple[list[Candidate], SearchResult]:
    *events, found = search(PLAN, space, settings, folder)
    assert isinstance(found, SearchResult)
    return [event for event in events if isinstance(event, Candidate)], found


def test_costs_are_those_of_the_thinned_network(
    space: Workspace,
) -> None:
    for budget in ("macs", "parameters"):
        own = PlanSpace(PLAN, space, budget=budget, keep=0.4)
        assert [part.layers for part in own.parts] == [
            TIED,
            ("inner.weight",),
        ]
        for wanted in (0.1, 0.5, 0.8):
            ratios = own.fitted(dict.fromkeys(TIED, wanted) | {"inner.weight": 0.4})
            made = thin(own.plan_with(ratios), space)
            assert own.costs(ratios)["macs"] == made.macs[1] / made.macs[0]
            assert own.costs(ratios)["parameters"] == made.parameters[1] / made.parameters[0]
            assert 0.4 - 4 * TOLERANCE < own.cost(ratios) <= 0.4
            assert own.costing.of_masks(own.counts(ratios), ("macs", "parameters")) == {
                name: own.costs(ratios)[name] for name in ("macs", "parameters")
            }


def test_other_granularities_count_the_masked_network(space: Workspace) -> None:
    own = PlanSpace(replace(PLAN, granularity="fine"), space, budget="parameters", keep=0.3)
    for name, ratios in own.starts().items():
        assert abs(own.cost(ratios) - 0.3) <= TOLERANCE, name
        counted = own.costing.of_masks(own.counts(ratios), ("macs", "parameters", "bytes"))
        assert own.costs(ratios) == pytest.approx(counted, abs=1e-4)
    stored = PlanSpace(replace(PLAN, granularity="fine"), space, budget="bytes", keep=0.5)
    half = stored.fitted(dict.fromkeys((part.name for part in stored.parts), 0.5))
    assert abs(stored.cost(half) - 0.5) <= TOLERANCE
    wide = PlanSpace(PLAN, space, keep=0.5, round_to=8)
    assert set(wide.counts(wide.starts()["uniform"]).values()) <= {0, 8, 16, 24, 32}


def test_candidates_are_measured_as_their_plan_says(space: Workspace, tmp_path: Path) -> None:
    _, found = run(space, SearchSettings("eagleeye", evaluations=3), tmp_path)
    _, masks = choose_masks(found.plan, space)
    network = pruned_copy(found.plan, space, masks)
    measured = evaluate(network, probe_split(found.plan, space))
    assert found.best.judged.value == measured.value
    assert found.best.judged.loss == pytest.approx(measured.loss)
    assert masks["stem.weight"].flatten(1).any(1).equal(masks["outer.weight"].flatten(1).any(1))
    assert Plan.from_json(found.plan.to_json()) == found.plan
    assert found.best == found.top[0]


def test_finished_evaluations_are_never_measured_again(space: Workspace, tmp_path: Path) -> None:
    settings = SearchSettings("eagleeye", evaluations=4)
    first = list(islice(search(PLAN, space, settings, tmp_path), 2))
    path = next(tmp_path.glob("evaluations-*/evaluations.jsonl"))
    with path.open("a") as file:
        file.write('{"state": "fin')  # a process that was killed while it wrote
    candidates, found = run(space, settings, tmp_path)
    assert candidates[:2] == first
    assert found.measured == 2
    _, again = run(space, replace(settings, keep=0.5), tmp_path)
    assert again.measured == 0
    assert again.best == found.best
    assert PlanEvaluate(PlanSpace(PLAN, space))(found.best.ratios) == found.best.judged
    _, other = run(space, replace(settings, repair="none"), tmp_path)
    assert other.measured == 4


def test_divergence_is_zero_for_the_dense_network(space: Workspace) -> None:
    ready = PlanEvaluate(PlanSpace(PLAN, space))
    dense = ready.dense()
    assert dense.divergence == 0
    half = ready(dict.fromkeys((*TIED, "inner.weight"), 0.5)).divergence
    assert half is not None
    assert half > 0


def test_what_cannot_be_searched_has_one_sentence(space: Workspace, tmp_path: Path) -> None:
    wrong: dict[str, Callable[[], object]] = {
        "cannot be met": lambda: run(space, SearchSettings(keep=0.001), tmp_path),
        "no search method": lambda: SearchSettings("eagle"),
        "no budget 'watts'": lambda: run(space, SearchSettings(budget="watts"), tmp_path),
        "outside 0 to 1": lambda: run(space, SearchSettings(keep=1.5), tmp_path),
        "needs a budget": lambda: SearchSettings(keep=None),
        "evaluations are outside": lambda: SearchSettings(evaluations=0),
        "least < most": lambda: run(space, SearchSettings(least=0.5, most=0.5), tmp_path),
        "sets the ratio": lambda: PlanSpace(Plan(granularity="2:4"), space),
        "measures each of the 2 parts": lambda: run(
            space, SearchSettings("eagleeye_kl", evaluations=2), tmp_path
        ),
        "cannot be read or written": lambda: run(space, SearchSettings(), Path("/dev/null")),
    }
    for text, call in wrong.items():
        with pytest.raises(PruningError, match=text):
            call()


def test_command_writes_plan_and_candidates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(model="lenet_300_100", granularity="filter", probe=64)
    (tmp_path / "plan.json").write_text(plan.to_json())
    out = tmp_path / "found"
    command = ["search", str(tmp_path / "plan.json"), "--out", str(out), "--evaluations", "3"]
    assert main([*command, "--budget", "parameters=0.5"]) == 0
    printed = capsys.readouterr()
    assert "no batch norm" in printed.err
    assert "Best of 3 candidates" in printed.out
    found = Plan.from_json((out / "plan.json").read_text())
    assert found.repair == "none"
    with (out / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["parameters"]) <= 0.505 for row in rows)
    assert main([*command, "--budget", "parameters=0.5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["measured"] == 0
    assert result["top"][0]["ratios"] == dict(found.overrides) | result["top"][0]["ratios"]
    assert main([*command, "--budget", "half"]) == 2
    assert "'half' is no budget" in capsys.readouterr().err

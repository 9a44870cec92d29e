"""The tables of choices that go together, and that what they say runs does run: every criterion, granularity and schedule."""

from dataclasses import fields, replace
from functools import cache

import pytest
import torch
from torch import nn

from pruning_core.axes import markdown
from pruning_core.criteria import CRITERIA
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.inventory import inventory
from pruning_core.pipeline import Workspace, prunable, prune
from pruning_core.plan import Plan
from pruning_core.schedule import SCHEDULES
from pruning_core.train import TrainConfig
from pruning_core.types import Dataset, Finished, Pruned
from tests.core.toy import MemorySplit, refusal

CPU = torch.device("cpu")
PLAN = Plan(sparsity=0.5, probe=10, calibration=12, fine_tune=TrainConfig(epochs=0))


class Small(nn.Module):
    """Convolution with batch norm, depthwise convolution, attention, linear layers: 3 classes of 8 x 8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(self.norm(self.stem(x)).relu()).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x.view_as(x), need_weights=False)[0]
        return self.head(self.fc(x).relu().mean(1))


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Criteria that work in rounds take three."""
    for name, how in CRITERIA.items():
        if "rounds" in {each.name for each in fields(how)}:
            monkeypatch.setitem(CRITERIA, name, replace(how, rounds=3))


@cache
def space() -> Workspace:
    rng = torch.Generator().manual_seed(0)
    split = MemorySplit(torch.randn(12, 1, 8, 8, generator=rng), torch.arange(12) % 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small().eval()
    return Workspace(model, Dataset("noise", ("a", "b", "c"), (1, 8, 8), split, split, split), inventory(model, (1, 8, 8)), ())


def runs(plan: Plan) -> None:
    """The plan to its end; or its sentence, where no layer can take it."""
    able, reasons = prunable(space().layers, granularity(plan.granularity), CRITERIA[plan.criterion])
    if not able:
        assert next(iter(reasons.values())) in refusal(lambda: list(prune(plan, space(), CPU)))
        return
    *rounds, done = prune(plan, space(), CPU)
    assert isinstance(done, Finished)
    assert all(isinstance(event, Pruned) for event in rounds)
    assert done.masks.keys() == {layer.name for layer in able}
    assert 0 < done.report.sparsity_masked < 1
    assert done.report.kept.keys() >= done.masks.keys()


@pytest.mark.parametrize("how", CRITERIA)
def test_every_granularity_runs_or_is_refused(how: str) -> None:
    for shape in GRANULARITIES:
        runs(replace(PLAN, criterion=how, granularity=shape))


@pytest.mark.parametrize("how", CRITERIA)
def test_every_schedule_runs(how: str) -> None:
    for schedule in SCHEDULES:
        for shape in ("fine", "filter"):
            name = schedule if schedule == "one_shot" else f"{schedule}:2"
            runs(replace(PLAN, criterion=how, granularity=shape, schedule=name, allocation="global"))


def test_the_tables_name_everything() -> None:
    text = markdown()
    for name in (*CRITERIA, *GRANULARITIES, *SCHEDULES):
        assert f"`{name}`" in text
    pairs = text[text.index("## Criterion and granularity") : text.index("## Where a criterion says no")]
    (row,) = (line for line in pairs.splitlines() if line.startswith("| `fpgm`"))
    cells = dict(zip(GRANULARITIES, row.strip("| ").split(" | ")[1:], strict=True))
    assert (cells["filter"], cells["row"], cells["channel"]) == ("all", "no", "no")
    assert cells["head"].split(" of ")[0] < cells["head"].split(" of ")[1]
    said = text[text.index("## Where a criterion says no") :]
    assert all(f"| `{name}` |" in said for name, how in CRITERIA.items() if how.per_filter)
    lines = [line.count(" | ") for line in pairs.splitlines() if line.startswith("| ")]
    assert lines == [len(GRANULARITIES)] * (len(CRITERIA) + 2)

"""The tables of choices that go together, and that what they say runs does run: every criterion,
granularity and schedule.
"""

from dataclasses import dataclass, field, fields, replace
from functools import cache

import pytest
import torch
from torch import nn

from pruning_core.cli.choices import markdown
from pruning_core.criteria import CRITERIA
from pruning_core.flows import flow
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import flow_context, prune
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan, prunable
from pruning_core.schedule import SCHEDULES, fractions, schedule
from pruning_core.training.config import TrainConfig
from pruning_core.types import Dataset, Finished, GroupScores, Masks, Pruned
from pruning_core.workspace import Workspace
from tests.cases import check_each
from tests.core.events import of_kind
from tests.core.toy import MemorySplit, refusal

CPU = torch.device("cpu")
PLAN = Plan(sparsity=0.5, probe=10, calibration=12, fine_tune=TrainConfig(epochs=0))


class Small(nn.Module):
    """Convolution with batch norm, depthwise convolution, attention, linear layers: 3 classes of 8
    x 8 images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

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
    return Workspace(
        model,
        Dataset("noise", ("a", "b", "c"), (1, 8, 8), split, split, split),
        inventory(model, (1, 8, 8)),
        (),
    )


def runs(plan: Plan) -> None:
    """The plan to its end; or its sentence, where no layer can take it."""
    able, reasons = prunable(
        space().layers, granularity(plan.granularity), CRITERIA[plan.criterion]
    )
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
    check_each(GRANULARITIES, lambda shape: runs(replace(PLAN, criterion=how, granularity=shape)))


@dataclass(frozen=True, eq=False)
class ScoredPlan(ResolvedPlan):
    """A plan whose scores are known."""

    known: GroupScores = field(default_factory=dict)

    def scores(self, model: nn.Module | None = None) -> GroupScores:
        return self.known

    def masked_copy(self, masks: Masks, model: nn.Module | None = None) -> nn.Module:
        """The model itself: these tests look at masks alone."""
        return model or self.space.model


def with_scores(plan: ResolvedPlan, groups: GroupScores) -> ScoredPlan:
    values = {entry.name: getattr(plan, entry.name) for entry in fields(plan)}
    return ScoredPlan(**values, known=groups)


@pytest.mark.parametrize("how", CRITERIA)
def test_every_schedule_runs_with_every_granularity(how: str) -> None:
    """Two rounds of each: masks only shrink, to about what one shot removes. Rounds of agp are
    scored anew, on the pruned network; the others take the scores of the whole one, and prune no
    network in between, which spares time.
    """
    plan = replace(PLAN, criterion=how, allocation="global")
    check_each(GRANULARITIES, lambda shape: every_schedule_runs(replace(plan, granularity=shape)))


def every_schedule_runs(plan: Plan) -> None:
    layers, _ = prunable(space().layers, granularity(plan.granularity), CRITERIA[plan.criterion])
    if not layers:
        return
    groups = plan.resolve(space()).scores()
    once = plan.resolve(space()).choose(groups, 1.0)[1]
    for name in SCHEDULES:
        spec = name if name == "one_shot" else f"{name}:2"
        made = flow_context(replace(plan, schedule=spec), space(), CPU)
        if name != "agp":
            made = replace(made, plan=with_scores(made.plan, groups))
        rounds = of_kind(Pruned, flow("rounds")(made))
        steps = list(fractions(schedule(spec, plan.sparsity)))
        assert [event.fraction for event in rounds] == steps
        first = rounds[0].masks
        last = rounds[-1].masks
        assert not any((mask & ~first[key]).any() for key, mask in last.items())
        # Rows of 8 weights lose whole weights, all equally many.
        near = 0.06 if name == "agp" or plan.granularity == "row" else 1e-9
        assert removed_in_all(last) == pytest.approx(removed_in_all(once), abs=near), spec


def removed_in_all(masks: Masks) -> float:
    """The share of the masked weights that is removed."""
    return sum(int((~mask).sum()) for mask in masks.values()) / sum(
        mask.numel() for mask in masks.values()
    )


def test_the_tables_name_everything() -> None:
    text = markdown()
    for name in (*CRITERIA, *GRANULARITIES, *SCHEDULES):
        assert f"`{name}`" in text
    pairs = text[
        text.index("## Criterion and granularity") : text.index("## Where a criterion refuses")
    ]
    (row,) = (line for line in pairs.splitlines() if line.startswith("| `fpgm`"))
    cells = dict(zip(GRANULARITIES, row.strip("| ").split(" | ")[1:], strict=True))
    assert (cells["filter"], cells["row"], cells["channel"]) == ("all", "no", "no")
    assert cells["head"].split(" of ")[0] < cells["head"].split(" of ")[1]
    said = text[text.index("## Where a criterion refuses") :]
    assert all(f"| `{name}` |" in said for name, how in CRITERIA.items() if how.per_filter)
    lines = [line.count(" | ") for line in pairs.splitlines() if line.startswith("| ")]
    assert lines == [len(GRANULARITIES)] * (len(CRITERIA) + 2)

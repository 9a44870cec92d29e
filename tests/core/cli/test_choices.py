"""The page of choices, and that every criterion runs with every granularity and schedule."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache

import pytest
import torch
from torch import nn

from pruning_core import resolved_plan
from pruning_core.cli.choices import markdown
from pruning_core.criteria import CRITERIA, Criterion, scores_by_part
from pruning_core.flows import flow
from pruning_core.granularity import GRANULARITIES, granularity, supports
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import flow_context, prune
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan, prunable
from pruning_core.schedule import SCHEDULES, fractions, schedule
from pruning_core.training.config import TrainConfig
from pruning_core.types import (
    Batches,
    Dataset,
    Finished,
    GivenMasks,
    GroupScores,
    Layer,
    Masks,
    Pruned,
    Scores,
)
from pruning_core.workspaces import Workspace
from tests.cases import check_each
from tests.core.events import of_kind
from tests.core.toy import MemorySplit, refusal

CPU = torch.device("cpu")
PLAN = Plan(sparsity=0.5, probe=10, calibration=12, fine_tune=TrainConfig(epochs=0))
RANKED_ONCE = ("magnitude_l1", "fpgm")
"""The criteria of the schedules whose rounds use the same scores. FPGM scores whole filters."""

KINDS_OF_ZEROS = ("fine", "filter", "channel", "head", "block:4x4")


class Small(nn.Module):
    """Convolution with batch norm, depthwise convolution, attention and linear layers.

    It classifies 8 x 8 images into 3 classes.
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
def scores_of_the_dense_network_once(few_rounds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same for all granularities that prune the same layers."""

    def by_part(
        criterion: Criterion, model: nn.Module, layers: tuple[Layer, ...], batches: Batches
    ) -> Iterator[Scores]:
        if model is space().model:
            return iter(dense_scores(criterion, layers, batches))
        return scores_by_part(criterion, model, layers, batches)

    monkeypatch.setattr(resolved_plan, "scores_by_part", by_part)


DENSE: dict[tuple[Criterion, tuple[Layer, ...]], list[Scores]] = {}


def dense_scores(criterion: Criterion, layers: tuple[Layer, ...], batches: Batches) -> list[Scores]:
    if (criterion, layers) not in DENSE:
        found = scores_by_part(criterion, space().model, layers, batches)
        DENSE[criterion, layers] = list(found)
    return DENSE[criterion, layers]


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


def runs_or_is_refused(plan: Plan) -> None:
    """Runs the plan to its end. Without a layer that supports it, it is refused with the reason."""
    layers, reasons = prunable(
        space().layers, granularity(plan.granularity), CRITERIA[plan.criterion]
    )
    if not layers:
        g = granularity(plan.granularity)
        by_criterion = [x.name for x in space().layers if supports(g, x) is None]
        reason = reasons[(*by_criterion, space().layers[0].name)[0]]
        assert reason in refusal(lambda: list(prune(plan, space(), CPU)))
        return
    *rounds, finished = prune(plan, space(), CPU)
    assert isinstance(finished, Finished)
    assert all(isinstance(event, Pruned) for event in rounds)
    assert finished.masks.keys() == {layer.name for layer in layers}
    assert 0 < finished.report.sparsity_masked < 1
    assert finished.report.kept.keys() >= finished.masks.keys()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_granularity_runs_or_is_refused(criterion: str) -> None:
    plan = replace(PLAN, criterion=criterion)
    check_each(GRANULARITIES, lambda name: runs_or_is_refused(replace(plan, granularity=name)))


@dataclass(frozen=True, eq=False)
class ScoredPlan(ResolvedPlan):
    """A plan whose scores are known."""

    known: GroupScores = field(default_factory=dict)

    def scores(self, model: nn.Module | None = None) -> GroupScores:
        return self.known

    def masked_copy(self, masks: GivenMasks, model: nn.Module | None = None) -> nn.Module:
        """The model itself: these tests only check masks."""
        return model or self.space.model


def with_scores(plan: ResolvedPlan, groups: GroupScores) -> ScoredPlan:
    values = {entry.name: getattr(plan, entry.name) for entry in fields(plan)}
    return ScoredPlan(**values, known=groups)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_schedule_runs_with_every_granularity(criterion: str) -> None:
    """In two rounds, masks only lose weights, and the last mask removes as much as one-shot does.

    The rounds of agp use new scores of the pruned network, here of one with each kind of zeros. The
    others rank the scores of the dense network once, whatever criterion they come from, and prune
    no network between the rounds here: two criteria show them all, with every granularity.
    """
    plan = replace(PLAN, criterion=criterion, allocation="global")
    shapes = GRANULARITIES if criterion in RANKED_ONCE else KINDS_OF_ZEROS
    check_each(shapes, lambda name: every_schedule_runs(replace(plan, granularity=name)))


def every_schedule_runs(plan: Plan) -> None:
    layers, _ = prunable(space().layers, granularity(plan.granularity), CRITERIA[plan.criterion])
    if not layers:
        return
    groups = plan.resolve(space()).scores()
    one_shot = plan.resolve(space()).choose(groups, 1.0)[1]
    for name in SCHEDULES if plan.criterion in RANKED_ONCE else ("agp",):
        spec = name if name == "one_shot" else f"{name}:2"
        context = flow_context(replace(plan, schedule=spec), space(), CPU)
        if name != "agp":
            context = replace(context, plan=with_scores(context.plan, groups))
        rounds = of_kind(Pruned, flow("rounds")(context))
        steps = list(fractions(schedule(spec, plan.sparsity)))
        assert [event.fraction for event in rounds] == steps
        first = rounds[0].masks
        last = rounds[-1].masks
        assert not any((mask & ~first[key]).any() for key, mask in last.items())
        # Every row of 8 weights loses the same whole number of weights.
        tolerance = 0.06 if name == "agp" or plan.granularity == "row" else 1e-9
        assert total_removed(last) == pytest.approx(total_removed(one_shot), abs=tolerance), spec


def total_removed(masks: Masks) -> float:
    """The fraction of the masked weights that is removed."""
    removed = sum(int((~mask).sum()) for mask in masks.values())
    return removed / sum(mask.numel() for mask in masks.values())


def test_the_page_has_every_choice_and_every_pair() -> None:
    text = markdown()
    for name in (*CRITERIA, *GRANULARITIES, *SCHEDULES):
        assert f"`{name}`" in text
    before, _, refusals = text.partition("## Where a criterion refuses")
    pairs = before.partition("## Criterion and granularity")[2]
    (row,) = (line for line in pairs.splitlines() if line.startswith("| `fpgm`"))
    cells = dict(zip(GRANULARITIES, row.strip("| ").split(" | ")[1:], strict=True))
    assert (cells["filter"], cells["row"], cells["channel"]) == ("all", "no", "no")
    assert cells["head"].split(" of ")[0] < cells["head"].split(" of ")[1]
    per_filter = [name for name, criterion in CRITERIA.items() if criterion.per_filter]
    assert all(f"| `{name}` |" in refusals for name in per_filter)
    lines = [line.count(" | ") for line in pairs.splitlines() if line.startswith("| ")]
    assert lines == [len(GRANULARITIES)] * (len(CRITERIA) + 2)

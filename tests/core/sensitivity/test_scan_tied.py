"""Scans of tied layers: against networks thinned by torch-pruning, and what is no cut at all."""

import csv
import io
from copy import deepcopy

import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.evaluation.intervals import change, paired
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores, lowest
from pruning_core.model.coupling.trace import HEADS, couplings
from pruning_core.model.inventory import inventory
from pruning_core.sensitivity.scan import scan, to_csv
from pruning_core.types import GroupScores, Layer, SensitivityPoint
from pruning_core.workspace import Workspace, open_workspace
from pruning_core.zoo import probe
from tests.core.toy import MemorySplit, refusal, same_state, state

CPU = torch.device("cpu")
FILTER = granularity("filter")
STREAM = (
    "stem.conv.weight",
    "layer1.0.conv2.weight",
    "layer1.1.conv2.weight",
    "layer1.2.conv2.weight",
)


def grouped(model: nn.Module, layers: tuple[Layer, ...], name: str = "filter") -> GroupScores:
    return group_scores(
        criterion("magnitude_l1")(model, layers, ()), layers, granularity(name), "mean_abs"
    )


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("resnet20", "digits")


@pytest.fixture(scope="module")
def points(space: Workspace) -> list[SensitivityPoint]:
    return measured(space, tied=True)


def measured(
    space: Workspace, *, tied: bool, grid: tuple[float, ...] = (0.01, 0.25, 0.75)
) -> list[SensitivityPoint]:
    groups = grouped(space.model, space.layers)
    some = {
        name: groups[name]
        for name in groups
        if name in (*STREAM, "layer1.1.conv1.weight", "layer3.0.conv1.weight")
    }
    split = probe(space.dataset.val, 128)
    tie = space.tied[0]
    return list(
        scan(
            space.model,
            space.layers,
            some,
            FILTER,
            split,
            grid=grid,
            device=CPU,
            couplings=tie,
            tied=tied,
        )
    )


def at(points: list[SensitivityPoint], name: str, sparsity: float) -> SensitivityPoint:
    return next(p for p in points if (p.parameter, p.sparsity) == (name, sparsity))


def thinned(space: Workspace, root: str, scores: Tensor, count: int) -> nn.Module:
    work = deepcopy(space.model)
    graph = torch_pruning.DependencyGraph().build_dependency(
        work, torch.zeros(1, 1, 8, 8), verbose=False
    )
    conv = work.get_submodule(root.removesuffix(".weight"))
    rows = lowest(scores[None], count)[0].nonzero().flatten().tolist()
    graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, rows).prune()
    return work.eval()


@pytest.mark.parametrize("sparsity", [0.25, 0.75])
def test_tied_layers_are_measured_as_the_network_without_their_channels(
    space: Workspace, points: list[SensitivityPoint], sparsity: float
) -> None:
    """Cut alone, each of them seems to cost far less: the identity path and the other branches go
    on.
    """
    groups = grouped(space.model, space.layers)
    split = probe(space.dataset.val, 128)
    scores = torch.stack([groups[name][0] for name in STREAM]).mean(0)
    wanted = evaluate(thinned(space, STREAM[0], scores, round(16 * sparsity)), split, device=CPU)
    dense = evaluate(space.model, split, device=CPU)
    for name in STREAM:
        point = at(points, name, sparsity)
        assert point.group == STREAM
        assert point.loss == pytest.approx(wanted.loss, rel=1e-4)
        assert (point.top1, point.achieved) == (wanted.top1, sparsity)
        versus = change(dense, wanted, split.labels)
        assert (point.change, point.change_interval) == (versus.value, versus.interval)
    naive = measured(space, tied=False, grid=(sparsity,))
    assert all(
        at(naive, name, sparsity).loss != pytest.approx(wanted.loss, rel=0.05) for name in STREAM
    )
    assert all(at(naive, name, sparsity).group == () for name in STREAM)


def test_one_layer_alone_looks_robust_where_its_channels_are_not(
    space: Workspace, points: list[SensitivityPoint]
) -> None:
    naive = measured(space, tied=False, grid=(0.75,))
    for name in STREAM[1:]:
        assert at(naive, name, 0.75).top1 > at(points, name, 0.75).top1 + 0.2


def test_a_layer_that_nothing_is_tied_to_is_cut_as_ever(
    space: Workspace, points: list[SensitivityPoint]
) -> None:
    naive = measured(space, tied=False)
    for name in ("layer1.1.conv1.weight", "layer3.0.conv1.weight"):
        for sparsity in (0.0, 0.01, 0.25, 0.75):
            assert at(points, name, sparsity) == at(naive, name, sparsity)


def test_points_come_for_every_layer_and_a_cut_of_nothing_is_named(
    points: list[SensitivityPoint],
) -> None:
    assert [p.parameter for p in points[::4]] == [
        *STREAM,
        "layer1.1.conv1.weight",
        "layer3.0.conv1.weight",
    ]
    for point in points:
        assert point.no_op is (
            point.sparsity == 0.01 and point.parameter != "layer3.0.conv1.weight"
        )
        assert point.why is None
        low, high = point.change_interval
        assert (low, high) == (0.0, 0.0) if point.achieved == 0 else low <= point.change <= high


def test_change_has_a_paired_interval_even_when_no_answer_changed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)).eval()
    model[3].weight.data[:, 1:] = 0  # the other filters say nothing
    model[0].weight.data[:] = torch.tensor([9.0, 1.0, 1.0, 1.0])[:, None, None, None]
    layers = inventory(model, (1, 1, 1))
    images = MemorySplit(torch.ones(50, 1, 1, 1), torch.arange(50) % 2)
    found = list(
        scan(model, layers, grouped(model, layers), FILTER, images, grid=(0.5,), device=CPU)
    )
    assert (found[1].change, found[1].change_interval) == (0.0, paired(0, 0, 50))
    assert found[1].top1 == 0.5
    assert found[1].change_interval[1] - found[1].change_interval[0] < 0.6 * (
        found[1].interval[1] - found[1].interval[0]
    )


def test_rows_of_heads_are_not_cut_and_say_why() -> None:
    space = open_workspace("vit", "digits")
    groups = grouped(space.model, space.layers)
    before = state(space.model)
    name = "blocks.0.attention.in_proj_weight"
    some = {key: groups[key] for key in (name, "blocks.0.mlp.fc1.weight")}
    split = probe(space.dataset.val, 64)
    found = list(
        scan(
            space.model,
            space.layers,
            some,
            FILTER,
            split,
            grid=(0.5,),
            device=CPU,
            couplings=space.tied[0],
            tied=True,
        )
    )
    assert same_state(space.model, before)
    assert [(p.parameter, p.achieved, p.no_op, p.why) for p in found if p.sparsity] == [
        (name, 0.0, True, HEADS),
        ("blocks.0.mlp.fc1.weight", 0.5, False, None),
    ]
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(row["no_op"], row["why"]) for row in rows if float(row["sparsity"])] == [
        ("1", HEADS),
        ("0", ""),
    ]


def test_members_of_a_join_lose_the_rows_that_are_theirs() -> None:
    """c(x) + [a(x), b(x)]: the two lowest channels of the sum are c's second and fifth, a's second
    and b's third.
    """

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(1, 2, 1)
            self.b = nn.Conv2d(1, 3, 1)
            self.c = nn.Conv2d(1, 5, 1)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc((self.c(x) + torch.cat([self.a(x), self.b(x)], 1)).flatten(1))

    model = Joined().eval()
    for conv, sizes in ((model.a, [5, 1]), (model.b, [5, 5, 1]), (model.c, [5, 1, 5, 5, 1])):
        conv.weight.data = torch.tensor(sizes, dtype=torch.float32).view(-1, 1, 1, 1)
    layers = inventory(model, (1, 1, 1))
    images = MemorySplit(torch.ones(20, 1, 1, 1), torch.zeros(20, dtype=torch.long))
    tie = couplings(model, layers, (1, 1, 1))
    found = scan(
        model,
        layers,
        grouped(model, layers),
        FILTER,
        images,
        grid=(0.4,),
        device=CPU,
        couplings=tie,
        tied=True,
    )
    gone = {p.parameter: p.achieved for p in found if p.sparsity}
    assert gone == pytest.approx({"a.weight": 1 / 2, "b.weight": 1 / 3, "c.weight": 2 / 5})


def test_only_whole_filters_are_cut_together(space: Workspace) -> None:
    split = probe(space.dataset.val, 10)
    groups = grouped(space.model, space.layers, "kernel")
    assert "whole filters" in refusal(
        lambda: list(
            scan(
                space.model,
                space.layers,
                groups,
                granularity("kernel"),
                split,
                couplings=space.tied[0],
                tied=True,
            )
        )
    )

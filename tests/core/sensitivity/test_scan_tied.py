"""Scans of tied layers equal networks thinned by torch-pruning."""

import csv
import io
from copy import deepcopy

import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.granularity import granularity
from pruning_core.intervals import paired_interval
from pruning_core.masks import group_scores, lowest
from pruning_core.model.coupling.trace import HEAD_ROWS, couplings
from pruning_core.model.inventory import inventory
from pruning_core.sensitivity.scan import scan, to_csv
from pruning_core.tasks import change
from pruning_core.types import GroupScores, Layer, SensitivityPoint
from pruning_core.workspaces import Workspace, open_workspace
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


def layer_group_scores(
    model: nn.Module, layers: tuple[Layer, ...], name: str = "filter"
) -> GroupScores:
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
    groups = layer_group_scores(space.model, space.layers)
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
def test_tied_layers_equal_the_network_without_their_channels(
    space: Workspace, points: list[SensitivityPoint], sparsity: float
) -> None:
    """A layer pruned alone seems to cost far less: other branches still fill its channels."""
    groups = layer_group_scores(space.model, space.layers)
    split = probe(space.dataset.val, 128)
    scores = torch.stack([groups[name][0] for name in STREAM]).mean(0)
    expected = evaluate(thinned(space, STREAM[0], scores, round(16 * sparsity)), split, device=CPU)
    dense = evaluate(space.model, split, device=CPU)
    for name in STREAM:
        point = at(points, name, sparsity)
        assert point.group == STREAM
        assert point.loss == pytest.approx(expected.loss, rel=1e-4)
        assert (point.value, point.achieved) == (expected.value, sparsity)
        versus = change(dense, expected)
        assert (point.change, point.change_interval) == (versus.value, versus.interval)
    naive = measured(space, tied=False, grid=(sparsity,))
    assert all(
        at(naive, name, sparsity).loss != pytest.approx(expected.loss, rel=0.05) for name in STREAM
    )
    assert all(at(naive, name, sparsity).group == () for name in STREAM)


def test_a_layer_pruned_alone_looks_more_robust_than_its_channels(
    space: Workspace, points: list[SensitivityPoint]
) -> None:
    naive = measured(space, tied=False, grid=(0.75,))
    for name in STREAM[1:]:
        assert at(naive, name, 0.75).value > at(points, name, 0.75).value + 0.2


def test_a_layer_without_tied_layers_has_equal_points_either_way(
    space: Workspace, points: list[SensitivityPoint]
) -> None:
    naive = measured(space, tied=False)
    for name in ("layer1.1.conv1.weight", "layer3.0.conv1.weight"):
        for sparsity in (0.0, 0.01, 0.25, 0.75):
            assert at(points, name, sparsity) == at(naive, name, sparsity)


def test_every_layer_has_points_and_those_that_remove_nothing_are_marked(
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
    model.get_parameter("3.weight").data[:, 1:] = 0  # the other filters have no effect
    scales = torch.tensor([9.0, 1.0, 1.0, 1.0])
    model.get_parameter("0.weight").data[:] = scales[:, None, None, None]
    layers = inventory(model, (1, 1, 1))
    images = MemorySplit(torch.ones(50, 1, 1, 1), torch.arange(50) % 2)
    points = list(
        scan(
            model,
            layers,
            layer_group_scores(model, layers),
            FILTER,
            images,
            grid=(0.5,),
            device=CPU,
        )
    )
    assert (points[1].change, points[1].change_interval) == (0.0, paired_interval(0, 0, 50))
    assert points[1].value == 0.5
    assert points[1].change_interval[1] - points[1].change_interval[0] < 0.6 * (
        points[1].interval[1] - points[1].interval[0]
    )


def test_rows_of_attention_heads_are_not_pruned_and_have_the_reason() -> None:
    space = open_workspace("vit", "digits")
    groups = layer_group_scores(space.model, space.layers)
    before = state(space.model)
    name = "blocks.0.attention.in_proj_weight"
    some = {key: groups[key] for key in (name, "blocks.0.mlp.fc1.weight")}
    split = probe(space.dataset.val, 64)
    points = list(
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
    assert [(p.parameter, p.achieved, p.no_op, p.why) for p in points if p.sparsity] == [
        (name, 0.0, True, HEAD_ROWS),
        ("blocks.0.mlp.fc1.weight", 0.5, False, None),
    ]
    rows = list(csv.DictReader(io.StringIO(to_csv(points))))
    assert [(row["no_op"], row["why"]) for row in rows if float(row["sparsity"])] == [
        ("1", HEAD_ROWS),
        ("0", ""),
    ]


def test_layers_added_together_lose_their_own_rows_of_the_removed_channels() -> None:
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
    points = scan(
        model,
        layers,
        layer_group_scores(model, layers),
        FILTER,
        images,
        grid=(0.4,),
        device=CPU,
        couplings=tie,
        tied=True,
    )
    removed = {p.parameter: p.achieved for p in points if p.sparsity}
    assert removed == pytest.approx({"a.weight": 1 / 2, "b.weight": 1 / 3, "c.weight": 2 / 5})


def test_only_whole_filters_are_pruned_together(space: Workspace) -> None:
    split = probe(space.dataset.val, 10)
    groups = layer_group_scores(space.model, space.layers, "kernel")
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

"""Networks in float16, bfloat16 and float64 score as their float32 copies, and keep their types."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pruning_core.criteria import CRITERIA
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.model.gradients import batch_gradients, gradients, hessian_gradients
from pruning_core.model.inventory import inventory
from pruning_core.model.precision import in_float32
from pruning_core.pipeline import choose_masks, prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import preview_plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.training.batch_norm import measure_again
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, Finished, PruningError, Tuned
from pruning_core.workspaces import Workspace
from tests.cases import check_each
from tests.core.quarters import quarters
from tests.core.toy import MemorySplit, refusal

CPU = torch.device("cpu")
TYPES = (torch.float16, torch.bfloat16, torch.float64)
FLOWS = ("rounds", "rigl", "seven_pre:steps=3", "surgery", "movement", "magnitude_quantile")


def space_in(kind: torch.dtype) -> Workspace:
    base = quarters()
    model = deepcopy(base.model).to(kind)
    return Workspace(model, base.dataset, inventory(model, base.dataset.shape), ())


def float32_copy(space: Workspace) -> Workspace:
    model = deepcopy(space.model).float()
    return Workspace(model, space.dataset, inventory(model, space.dataset.shape), ())


@pytest.mark.usefixtures("few_rounds")
def test_every_criterion_gives_the_masks_of_the_float32_copy() -> None:
    spaces = {kind: (space_in(kind), float32_copy(space_in(kind))) for kind in TYPES}

    def same(kind: torch.dtype, name: str) -> None:
        space, full = spaces[kind]
        g = "filter" if CRITERIA[name].per_filter else "fine"
        plan = Plan(criterion=name, granularity=g, allocation="global")
        masks = choose_masks(plan, space)[1]
        wanted = choose_masks(plan, full)[1]
        assert all(torch.equal(masks[key], mask) for key, mask in wanted.items())
        batches = [(torch.rand(8, 1, 6, 6).to(kind), torch.arange(8) % 4)]
        layers = tuple(x for x in space.layers if CRITERIA[name].supports(x) is None)
        scores = CRITERIA[name](space.model, layers, batches)
        assert {value.dtype for value in scores.values()} == {torch.float32}
        assert all(value.any() for value in scores.values())

    names = [name for name in CRITERIA if name not in ("magnitude_l2", "magnitude_linf")]
    check_each([(TYPES[i % 3], name) for i, name in enumerate(names)], same)
    check_each([(torch.float16, name) for name in ("grasp", "seven", "obd", "wanda")], same)


def test_flows_scans_and_evaluation_work_and_the_trained_network_has_its_own_types() -> None:
    config = TrainConfig(epochs=1, batch_size=20)

    def works(kind: torch.dtype, flow: str) -> None:
        space = space_in(kind)
        *_, done = prune(Plan(flow=flow, fine_tune=config), space, CPU)
        assert isinstance(done, Finished)
        assert {p.dtype for p in done.model.parameters()} == {kind}

    check_each([(TYPES[i % 3], flow) for i, flow in enumerate((*FLOWS, *FLOWS[:2]))], works)
    for kind in TYPES:
        space = space_in(kind)
        value = evaluate(space.model, space.dataset.test).value
        assert value == pytest.approx(evaluate(in_float32(space.model), space.dataset.test).value)
        assert list(scan_plan(Plan(), space, (0.5,)))
        assert list(preview_plan(Plan(), space, (0.5,)))


def with_labels(kind: torch.dtype) -> Dataset:
    data = quarters().dataset
    train = data.train
    assert isinstance(train, MemorySplit)
    images = torch.cat([x for x, _ in train.batches(80)])
    split = MemorySplit(images, train.labels.to(kind))
    return replace(data, train=split, val=split, test=split)


def test_labels_of_every_integer_type_are_the_same() -> None:
    space = quarters()
    config = TrainConfig(epochs=1, batch_size=20)
    wanted: dict[str, Tensor] = {}
    for kind in (torch.int64, torch.int32, torch.int16, torch.uint8):
        own = Workspace(space.model, with_labels(kind), space.layers, ())
        for name in ("taylor", "obd", "seven", "grasp", "wanda"):
            plan = Plan(criterion=name, fine_tune=config)
            *_, done = prune(plan, own, CPU)
            assert isinstance(done, Finished)
            weight = done.model.get_parameter("4.weight")
            assert torch.equal(wanted.setdefault(name, weight), weight), (kind, name)
        assert list(scan_plan(Plan(), own, (0.5,)))
        assert list(preview_plan(Plan(), own, (0.5,)))


def batch_norm_of_vectors() -> Workspace:
    space = quarters()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
        ).eval()
    return Workspace(model, space.dataset, inventory(model, (1, 6, 6)), ())


def test_a_step_of_one_sample_uses_the_running_statistics() -> None:
    space = batch_norm_of_vectors()
    config = TrainConfig(epochs=1, batch_size=1, lr=0.01)
    *_, tuned = fine_tune(space.model, {}, space.layers, space.dataset, config, CPU)
    assert isinstance(tuned, Tuned)
    for name in ("2.running_mean", "2.running_var"):
        assert torch.equal(tuned.model.get_buffer(name), space.model.get_buffer(name))
    weight = space.model.get_parameter("1.weight")
    assert not torch.equal(tuned.model.get_parameter("1.weight"), weight)
    assert not any(module.training for module in tuned.model.modules())
    without = deepcopy(space.model)
    without.set_submodule("2", nn.BatchNorm1d(8, track_running_stats=False))
    steps = fine_tune(without, {}, space.layers, space.dataset, config, CPU)
    assert "choose another batch size" in refusal(lambda: list(steps))
    batches = space.dataset.train.subset([0]).batches(8)
    work = deepcopy(space.model)
    assert "at least two samples" in refusal(lambda: measure_again(work, batches))


def test_empty_batches_are_left_out_or_refused() -> None:
    space = quarters()
    x = torch.rand(8, 1, 6, 6)
    y = torch.arange(8) % 4
    nothing = (x[:0], y[:0])
    full = gradients(space.model, space.layers, [(x, y)])
    mixed = gradients(space.model, space.layers, [nothing, (x, y), nothing])
    assert all(torch.equal(full[name], mixed[name]) for name in full)
    assert len(list(batch_gradients(space.model, space.layers, [nothing, (x, y)], 4))) == 2
    for name in ("taylor", "grasp", "obd", "seven", "synflow"):
        with pytest.raises(PruningError, match="one batch"):
            CRITERIA[name](space.model, space.layers, [nothing])


class Smooth(nn.Module):
    """Hardsigmoid in operations that have second derivatives."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 3).clamp(0, 6) / 6


@pytest.mark.parametrize("smooth", [False, True])
def test_hessian_of_an_operation_without_second_derivative(smooth: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [nn.Flatten(), nn.Linear(36, 12), nn.GELU() if smooth else nn.ReLU()]
        model = nn.Sequential(*parts, nn.Linear(12, 12), nn.Hardsigmoid(), nn.Linear(12, 4)).eval()
        batches = [(torch.randn(32, 1, 6, 6), torch.arange(32) % 4)]
    twin = nn.Sequential(*(Smooth() if isinstance(p, nn.Hardsigmoid) else p for p in model)).eval()
    layers = inventory(model, (1, 6, 6))
    loss = model(batches[0][0]).square().sum()
    (slope,) = torch.autograd.grad(loss, [model.get_parameter("1.weight")], create_graph=True)
    with pytest.raises(RuntimeError, match="hardsigmoid_backward is not implemented"):
        slope.sum().backward()
    ours = hessian_gradients(model, layers, batches, 200.0)
    exact = hessian_gradients(twin, layers, batches, 200.0)
    for name, value in exact.items():
        assert torch.allclose(ours[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()))

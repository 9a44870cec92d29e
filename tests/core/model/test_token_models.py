"""A BERT-style encoder from start to end: inputs in a dict, an object with logits as output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.criteria import CRITERIA, criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.evaluation.forward import Forward
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks
from pruning_core.model.activation_stats import input_norms
from pruning_core.model.activations import attention_maps, feature_maps
from pruning_core.model.gradients import gradients, squared_gradients
from pruning_core.model.graph.replay import Replay
from pruning_core.model.inventory import inventory
from pruning_core.model.layer_graph import network_map
from pruning_core.model.model_io import copy_model
from pruning_core.pipeline import group_scores_of, prune
from pruning_core.plan import Plan
from pruning_core.training.batch_norm import measure_again
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Batches, Finished, Inputs, Layer, Pruned, Tuned
from pruning_core.workspaces import Workspace
from tests.core.events import last_of
from tests.core.tiny_bert import Output, TinyBert, Tokens, dataset, sentences, tiny_bert
from tests.core.toy import answers, gradient, refusal, same_state, state

CPU = torch.device("cpu")
X = sentences()
Y = torch.arange(24) % 3
BATCHES: Batches = tuple(Tokens(X, Y).batches(10))
LAYERS = inventory(tiny_bert(), X)


class Strict(TinyBert):
    """Reads the mask's values, which torch.fx cannot trace."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        if not attention_mask.any():
            raise ValueError("nothing to read")
        return super().forward(input_ids, attention_mask)


class Ordered(nn.Module):
    """Takes its inputs in order and gives a tuple; it has a batch norm over features."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_bert()
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.last(self.norm(self.inner(ids, mask).logits)), mask


class Pairs(Tokens):
    """The same sentences as tuples."""

    def batches(self, size: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:  # type: ignore[override]
        yield from ((tuple(x.values()), y) for x, y in super().batches(size))

    def subset(self, indices: Sequence[int]) -> "Pairs":
        found = super().subset(indices)
        return Pairs(found.x, found.labels)


def strict() -> nn.Module:
    model = Strict().eval()
    model.load_state_dict(tiny_bert().state_dict())
    return model


def full(model: nn.Module, inputs: Inputs = X) -> Tensor:
    assert isinstance(inputs, Mapping)
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits
    return logits


def test_accuracy_is_measured() -> None:
    found = evaluate(tiny_bert(), Tokens(X, Y), device="cpu", batch_size=10)
    assert answers(found).predictions.tolist() == full(tiny_bert()).argmax(1).tolist()
    assert found.loss == pytest.approx(float(cross_entropy(full(tiny_bert()), Y)), abs=1e-6)


def test_fine_tuning_learns_and_removed_weights_stay_zero() -> None:
    model = tiny_bert()
    masks = {
        x.name: torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
        for x in LAYERS
        if not x.is_output
    }
    config = TrainConfig(epochs=6, lr=0.01, batch_size=8, optimizer="adamw", cosine=False)
    last = list(
        fine_tune(apply_masks(model, masks, LAYERS), masks, LAYERS, dataset(), config, "cpu")
    )[-1]
    assert isinstance(last, Tuned)
    assert last.evaluation.value > 0.9
    assert all(
        not last.model.get_parameter(name)[~mask[:, :, 0, 0]].any() for name, mask in masks.items()
    )


def test_batch_norm_is_recalibrated_on_tuples() -> None:
    model = Ordered().eval()
    split = Pairs(X, Y)
    fresh = copy_model(model)
    measure_again(fresh, split.batches(24))
    torch.testing.assert_close(fresh.get_buffer("norm.running_mean"), full(tiny_bert()).mean(0))
    assert evaluate(fresh, split, device="cpu").n == 24
    assert [layer.bn for layer in inventory(model, tuple(X.values()))][-2:] == ["norm", None]


def test_gradients_are_those_of_autograd() -> None:
    model = tiny_bert()
    cross_entropy(model(**X).logits, Y).backward()
    for name, slope in gradients(tiny_bert(), LAYERS, BATCHES).items():
        torch.testing.assert_close(
            slope[:, :, 0, 0], model.get_parameter(name).grad, rtol=1e-4, atol=1e-6
        )
    single = torch.zeros_like(model.get_parameter("pooler.weight"))
    for at in range(24):
        model.zero_grad()
        cross_entropy(
            model(**{name: t[at : at + 1] for name, t in X.items()}).logits, Y[at : at + 1]
        ).backward()
        single += gradient(model, "pooler.weight").square() / 24
    found = squared_gradients(tiny_bert(), LAYERS, BATCHES)["pooler.weight"][:, :, 0, 0]
    torch.testing.assert_close(found, single, rtol=1e-4, atol=1e-7)
    short = ((X, Y[:-1]),)
    assert "24 inputs but 23 labels" in refusal(lambda: gradients(model, LAYERS, short))


def test_inputs_of_linears_are_measured_at_every_token() -> None:
    model = tiny_bert()
    seen: list[Tensor] = []
    model.get_submodule("layers.0.dense").register_forward_pre_hook(
        lambda _m, args: seen.append(args[0])
    )
    full(model)
    wanted = (seen[0].square().sum(1).mean(0)).sqrt()
    found = input_norms(tiny_bert(), LAYERS, BATCHES)["layers.0.dense.weight"][0, :, 0, 0]
    torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_gives_scores_or_a_reason(name: str) -> None:
    model = tiny_bert()
    how = criterion(name)
    before = state(model)
    able = tuple(layer for layer in LAYERS if how.supports(layer) is None)
    assert len(able) >= 4 or name == "bn_scale"
    scores = how(model, able, BATCHES) if able else {}
    assert {layer.name: layer.shape for layer in able} == {
        name: tuple(score.shape) for name, score in scores.items()
    }
    assert all(score.isfinite().all() and len(score.unique()) > 1 for score in scores.values())
    assert same_state(model, before)


@pytest.mark.parametrize(("make", "replayed"), [(tiny_bert, False), (strict, True)])
def test_one_layer_at_a_time_gives_the_same_bits(
    make: Callable[[], nn.Module], replayed: bool
) -> None:
    model = make()
    split = Tokens(X, Y)
    assert isinstance(Forward(model, split, device=CPU).program, Replay) is replayed

    def masks(layer: Layer) -> list[Tensor]:
        return [torch.rand(layer.shape, generator=torch.Generator().manual_seed(2)) < 0.5]

    for layer, _, logits in PartialForward(model, split, device=CPU, batch_size=10).run(
        LAYERS, masks
    ):
        changed = apply_masks(model, {layer.name: masks(layer)[0]}, LAYERS)
        assert torch.equal(logits, torch.cat([full(changed, x) for x, _ in split.batches(10)])), (
            layer.name
        )
    live = IncrementalForward(model, split, device=CPU, batch_size=10)
    dense = torch.cat([full(model, x) for x, _ in split.batches(10)])
    assert torch.equal(live.logits({}), dense)
    assert not torch.equal(live.logits({"pooler.weight": torch.zeros(16, 16)}), dense)
    assert torch.equal(live.logits({}), dense)


def test_maps_of_tokens() -> None:
    model = tiny_bert()
    known = {layer.name: layer for layer in LAYERS}
    assert feature_maps(model, known["layers.0.attention.query.weight"], X).shape == (24, 16, 1, 6)
    assert "nn.MultiheadAttention" in refusal(
        lambda: attention_maps(model, known["layers.0.dense.weight"], X)
    )
    assert {node.name for node in network_map(model, LAYERS).nodes} >= set(known)


@pytest.mark.parametrize(
    "flow",
    ["rounds", "seven_pre:steps=4,batch=8", "seven_dyn:delay=0,window=0.8", "movement:cuts=2"],
)
@pytest.mark.parametrize("shape", ["fine", "head"])
def test_a_plan_runs_on_tokens(flow: str, shape: str) -> None:
    model = tiny_bert()
    space = Workspace(model, dataset(), inventory(model, X), (), X)
    config = TrainConfig(epochs=2, lr=0.01, batch_size=8, optimizer="adamw")
    plan = Plan(
        criterion="taylor",
        granularity=shape,
        sparsity=0.5,
        flow=flow,
        fine_tune=config,
        calibration=24,
        probe=24,
    )
    events = list(prune(plan, space, CPU))
    last = last_of(Finished, events)
    assert [event for event in events if isinstance(event, Pruned)]
    assert ("classifier.weight" in last.masks) is (shape == "fine" and not flow.startswith("seven"))
    assert last.report.sparsity_masked == pytest.approx(0.5, abs=0.01)
    assert last.tuned is not None
    assert last.tuned.n == last.dense.n == 24
    assert all(
        not last.model.get_parameter(name)[~mask[:, :, 0, 0]].any()
        for name, mask in last.masks.items()
    )


@pytest.mark.usefixtures("few_rounds")
def test_a_criterion_without_data_gets_tokens_that_are_valid() -> None:
    model = tiny_bert()
    space = Workspace(deepcopy(model), dataset(), LAYERS, (), X)
    layers, found = group_scores_of(
        replace(Plan(probe=24), criterion="synflow", granularity="filter"), space
    )
    assert {layer.name for layer in layers} == found.keys()
    assert granularity("filter").refuses(LAYERS[-1]) is not None

"""What must hold for every flow: it ends, removed weights are zero, nothing revives where it must
not, it is the same twice.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from pruning_core.flows import FLOWS, Flow, flow, settings_of, spec
from pruning_core.flows.masking import RuleDefaults, StepState, train_with_rule
from pruning_core.flows.protocol import Chosen
from pruning_core.granularity import granularity, to_groups
from pruning_core.hand_edits import HandEdits
from pruning_core.model.inventory import weights
from pruning_core.pipeline import flow_context, prune
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.schedule import FunctionSchedule
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Pruned, Step, Tuned
from pruning_core.workspaces import Workspace
from tests.core.events import last_of, of_kind
from tests.core.quarters import quarters
from tests.core.toy import answers, is_sentence, refusal, same_state, state

CPU = torch.device("cpu")
SGD = TrainConfig(epochs=2, batch_size=8, lr=0.05, momentum=0.9, weight_decay=1e-2)
ADAM = replace(SGD, optimizer="adamw", lr=0.01)
NEAR = {"surgery": 0.1, "magnitude_quantile": 0.02, "gradient_quantile": 0.02}
"""How far from the target a flow may end, in share of the masked weights; others end on it."""
LEFT = {"blockwise": 0.6}
"""The share of the first loss that may be left; a flow that prunes at once starts with masks."""
LAST_CUT_AT_THE_END = "gradient_quantile:every=7"
"""It cuts by one batch's noise after the last step, and trains no more."""
SHORT = (
    "lottery:fresh=0",
    "seven_pre:steps=6,batch=8,classifier=1",
    "seven_dyn:classifier=1",
    "movement:cuts=5",
    "platon:window=2",
    "surgery:updates=8",
    "rigl:updates=8",
)
"""Flows that the usual settings make longer than this small network needs."""
OTHER_SETTINGS = ("slimming:groups=1", "magnitude_quantile:every=7", "gradient_quantile:every=7")
TEXTS = (
    *({name: name for name in FLOWS} | {text.partition(":")[0]: text for text in SHORT}).values(),
    *OTHER_SETTINGS,
)
"""Every flow."""


@cache
def space() -> Workspace:
    return quarters()


def planned(text: str, config: TrainConfig = SGD, **more: Any) -> Plan:
    return replace(
        Plan(sparsity=0.7, allocation="global", schedule="agp:3", flow=text, fine_tune=config),
        **more,
    )


@cache
def events(text: str, config: TrainConfig = SGD, shape: str = "fine") -> tuple[object, ...]:
    return tuple(prune(planned(text, config, granularity=shape), space(), CPU))


def gone(event: Pruned, model: nn.Module) -> bool:
    """Is everything that the masks remove exactly zero?"""
    now = weights(model, space().layers)
    return all(bool((now[name][~mask] == 0).all()) for name, mask in event.masks.items())


@pytest.mark.parametrize("config", [SGD, ADAM], ids=["sgd", "adamw"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_flow_ends_with_its_masks_held_and_the_base_model_is_as_it_was(
    text: str, config: TrainConfig
) -> None:
    before = state(space().model)
    history = events(text, config)
    cuts = of_kind(Pruned, history)
    last = last_of(Finished, history)
    assert same_state(space().model, before)
    assert [cut.round for cut in cuts] == list(range(1, len(cuts) + 1))
    assert {cut.rounds for cut in cuts} == {len(cuts)}
    assert cuts[-1].fraction == pytest.approx(1, abs=0.01)
    assert all(torch.equal(mask, cuts[-1].masks[name]) for name, mask in last.masks.items())
    assert gone(cuts[-1], last.model)
    assert all(
        bool((weights(last.model, space().layers)[name][mask] != 0).any())
        for name, mask in last.masks.items()
    )
    kept = sum(int(mask.sum()) for mask in last.masks.values()) / sum(
        mask.numel() for mask in last.masks.values()
    )
    slack = NEAR.get(text.partition(":")[0], 0.004)
    assert 1 - kept == pytest.approx(0.7, abs=slack)
    assert last.tuned is not None
    losses = [step.loss for step in of_kind(Step, history)]
    assert losses[-1] < LEFT.get(text, 0.5) * losses[0]
    if text != LAST_CUT_AT_THE_END:
        assert last.tuned.value > 0.4


@pytest.mark.parametrize("config", [SGD, ADAM], ids=["sgd", "adamw"])
@pytest.mark.parametrize("text", [text for text in TEXTS if not flow(text).regrows])
def test_nothing_revives_where_the_flow_forbids_it(text: str, config: TrainConfig) -> None:
    """Momentum, weight decay and Adam would all move a zero."""
    history = events(text, config)
    cuts = of_kind(Pruned, history)
    for earlier, later in pairwise(cuts):
        assert all(not (later.masks[name] & ~mask).any() for name, mask in earlier.masks.items())
    for number, event in enumerate(history):
        if isinstance(event, Tuned | Pruned) and (past := of_kind(Pruned, history[: number + 1])):
            assert gone(past[-1], event.model)


@pytest.mark.parametrize("text", ["movement:cuts=5", "surgery:updates=8", "rigl:updates=8"])
def test_weights_do_come_back_where_the_flow_lets_them(text: str) -> None:
    assert flow(text).regrows
    history = events(text, ADAM)
    cuts = of_kind(Pruned, history)
    back = sum(
        int((later.masks[name] & ~mask).sum())
        for earlier, later in pairwise(cuts)
        for name, mask in earlier.masks.items()
    )
    assert back > 0
    assert all(gone(cut, cut.model) for cut in cuts)


@pytest.mark.parametrize(
    "optimizer", [SGD, replace(SGD, momentum=0.0), ADAM], ids=["momentum", "plain", "adamw"]
)
@pytest.mark.parametrize("hidden", [False, True])
def test_every_forward_pass_after_a_cut_sees_zeros(optimizer: TrainConfig, hidden: bool) -> None:
    here = quarters()
    seen = []
    mask = torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(5)) < 0.5
    here.model.get_submodule("0").register_forward_pre_hook(
        lambda module, _: seen.append((module.training, module.weight.detach().clone()))
    )

    class Once(RuleDefaults):
        updates = 1

        def __init__(self) -> None:
            super().__init__(keeps_values=hidden)
            self.under: list[torch.Tensor] = []

        def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
            self.under.append(state.weights["0.weight"].clone())
            return (1.0, ({"0.weight": 0.5}, {"0.weight": mask})) if state.step == 4 else None

    rule = Once()
    list(
        train_with_rule(
            flow_context(planned("gradual", optimizer), here, CPU),
            rule,
            here.model,
            {},
            regrows=hidden,
        )
    )
    training = [w for mode, w in seen if mode]
    assert len(training) == 20
    assert all(bool((w[~mask] != 0).all()) for w in training[:5])
    assert all(bool((w[~mask] == 0).all()) for w in training[5:])
    assert all(bool((w[mask] != 0).all()) for w in training)
    later = rule.under[-1][~mask]
    assert bool((later != 0).any()) == hidden


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_plan_gives_the_same_result(text: str) -> None:
    first = last_of(Finished, events(text))
    second = last_of(Finished, prune(planned(text), space(), CPU))
    assert same_state(first.model, state(second.model))
    assert all(torch.equal(mask, second.masks[name]) for name, mask in first.masks.items())


@pytest.mark.parametrize("shape", ["filter", "2:4"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_flow_takes_a_shape_or_says_why_not(text: str, shape: str) -> None:
    """Whole groups are removed, and what follows a removed filter outputs zero in the end."""
    if "quantile" in text or (text.startswith("surgery") and shape == "2:4"):
        refusal(lambda: events(text, SGD, shape))
        return
    history = events(text, SGD, shape)
    last = last_of(Finished, history)
    g = granularity(shape)
    for layer in space().layers:
        if layer.name in last.masks:
            cells = to_groups(last.masks[layer.name], g, layer)
            assert torch.equal(cells, cells[..., :1].expand_as(cells))
            assert cells.any(-1).any(1).all()
    assert gone(of_kind(Pruned, history)[-1], last.model)
    if shape == "filter":
        lost = ~last.masks["0.weight"].flatten(1).any(1)
        assert lost.any()
        assert not last.model.get_parameter("1.weight")[lost].any()
        assert not last.model.get_parameter("1.bias")[lost].any()
        assert not last.model.get_parameter("0.bias")[lost].any()


@pytest.mark.parametrize("name", FLOWS)
def test_without_an_epoch_a_flow_that_trains_says_so(name: str) -> None:
    plan = planned(name, replace(SGD, epochs=0))
    if FLOWS[name].trains:
        assert FLOWS[name].label in refusal(lambda: list(prune(plan, space(), CPU)))
    else:
        history = tuple(
            prune(
                replace(plan, flow="seven_pre:steps=3" if name == "seven_pre" else name),
                space(),
                CPU,
            )
        )
        assert not of_kind(Step, history)
        assert last_of(Finished, history).tuned is None


@pytest.mark.parametrize("name", FLOWS)
def test_flows_describe_themselves_and_their_settings(name: str) -> None:
    entry = FLOWS[name]
    assert isinstance(entry, Flow)
    for each in settings_of(entry):
        assert each.least <= each.default <= each.most
        assert is_sentence(each.help)
    assert "labelled images" in entry.needs
    assert ("at least one epoch" in entry.needs) == entry.trains
    assert (
        ("criterion reads" in entry.needs)
        == ("criterion's" in entry.passes)
        == ("criterion" in dict(entry.published))
    )
    assert "1 forward, 1 backward per step" in entry.passes
    published: dict[str, Any] = dict(entry.published)
    Plan(**published)
    assert spec(name, entry) == name


@pytest.mark.parametrize("text", TEXTS)
def test_a_flows_text_comes_back(text: str) -> None:
    assert spec(text.partition(":")[0], flow(text)) == text


def test_outputs_that_stand_for_classes_are_read_by_every_gradient() -> None:
    here = quarters((7, 1, 0, 5))
    for text in ("seven_pre:steps=3,batch=8", "rigl:updates=2"):
        last = last_of(Finished, prune(planned(text), here, CPU))
        assert last.tuned is not None
        assert answers(last.tuned).confusion.shape == (4, 4)
        assert last.tuned.value > 0.4


def test_hand_edits_hold_in_flows_that_choose_by_their_own_rule() -> None:
    edits = (HandEdits("0.weight", "fine", ((0, 0, True), (0, 1, False), (0, 2, False))),)
    for text in ("rigl:updates=2", "surgery:updates=2", "movement:cuts=2"):
        last = last_of(Finished, prune(planned(text, edits=edits), space(), CPU))
        assert last.masks["0.weight"].flatten()[:3].tolist() == [True, False, False], text


def test_a_ratio_by_hand_of_a_layer_that_seven_spares_changes_nothing() -> None:
    output = next(layer.name for layer in space().layers if layer.is_output)
    text = "seven_pre:steps=4,batch=8"
    plain, by_hand = (
        last_of(Finished, prune(planned(text, overrides=more), space(), CPU))
        for more in ((), ((output, 0.3),))
    )
    assert output not in by_hand.masks or by_hand.masks[output].all()
    assert all(torch.equal(by_hand.masks[name], mask) for name, mask in plain.masks.items())


def test_facts_about_what_a_flow_reads_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan's criterion, allocation and schedule are read by the flows that say so, alone."""
    wrong = []
    for name, text in {text.partition(":")[0]: text for text in reversed(TEXTS)}.items():
        chosen = FLOWS[name]
        read: set[str] = set()
        with monkeypatch.context() as patch:
            for what, where in (("scores", ResolvedPlan), ("_allocated", ResolvedPlan)):
                patch.setattr(where, what, recording(getattr(where, what), what, read))
            curve = recording(FunctionSchedule.__call__, "schedule", read)
            patch.setattr(FunctionSchedule, "__call__", curve)
            tuple(prune(planned(text, replace(SGD, epochs=1)), space(), CPU))
        says = {"scores": chosen.scored, "_allocated": chosen.allocated}
        says["schedule"] = chosen.scheduled
        wrong += [(name, what) for what, said in says.items() if said != (what in read)]
    assert not wrong


def recording(function: Callable[..., Any], what: str, read: set[str]) -> Callable[..., Any]:
    """The function, which also notes that it was called."""

    def noted(*args: Any, **options: Any) -> Any:
        read.add(what)
        return function(*args, **options)

    return noted

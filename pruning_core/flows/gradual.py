"""Flows that prune step by step during training, by a criterion or by scores learned on the way."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pruning_core.flows.goal import Goal, GoalSettings
from pruning_core.flows.masking import (
    RuleDefaults,
    StepState,
    Timed,
    first_pruning,
    mask_fixed,
    total_steps,
    train_with_rule,
    update_steps,
)
from pruning_core.flows.protocol import Chosen, Event, Flow, FlowContext, FlowDefaults
from pruning_core.flows.rounds import READS_CRITERION, choices, next_masks
from pruning_core.model.precision import set_types, types_of
from pruning_core.schedule import agp
from pruning_core.settings import setting
from pruning_core.training.config import learning_rate
from pruning_core.training.optimizers import SGD, AdamW
from pruning_core.training.state_files import KeptOptimizer, KeptTensors, State
from pruning_core.types import GoalRound, Pruned, PruningError, Tuned


def shares(steps: tuple[int, ...], curve: Callable[[float], float]) -> dict[int, float]:
    """Step -> share of the target, with equal progress from one step to the next; the last is 1."""
    return {step: curve((k + 1) / len(steps)) for k, step in enumerate(steps)}


@runtime_checkable
class Windowed(Flow, Protocol):
    """A flow that prunes in a part of the training, from `begin` to `end`."""

    @property
    def begin(self) -> float: ...
    @property
    def end(self) -> float: ...


def pruning_steps(flow: Windowed, context: FlowContext, count: int) -> tuple[int, ...]:
    """At most `count` steps of the flow's part of the training.

    Raises PruningError where `end` is not after `begin`.
    """
    if flow.end <= flow.begin:
        raise PruningError(f"{flow.label} ends before it begins: set end above begin.")
    return update_steps(context, flow.begin, flow.end, count)


@dataclass(eq=False, kw_only=True)
class _UntilGoal(RuleDefaults):
    """Prunes at given steps, until the goal is met; then the training continues without pruning.

    Before each pruning the network is measured as the end of the round before. Where it misses the
    goal, masks and weights become those at the end of the last good round again.
    """

    context: FlowContext
    goal: Goal
    when: Mapping[int, float]
    measured: list[GoalRound] = field(default_factory=list)
    newest: Pruned | None = None
    resets_momentum: bool = True

    @property
    def updates(self) -> int:
        """How many times the masks change, as far as it is known."""
        return len(self.when)

    def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
        if state.step not in self.when:
            return None
        model = state.snapshot()
        if self.newest is not None and not (end := self.finish(model)).good:
            self._stop_after(state.step)
            self.newest = self.goal.restored(end)
            state.model.load_state_dict(self.newest.model.state_dict())
        else:
            self.newest = self._next_round(state, model)
        return self.newest.fraction, (self.newest.ratios, self.newest.masks)

    def _next_round(self, state: StepState, model: nn.Module) -> Pruned:
        number = 1 if self.newest is None else self.newest.round + 1
        before = 0.0 if self.newest is None else self.newest.fraction
        asked = self.when[state.step]
        choose = choices(self.context, model, state.masks)
        fraction = self.goal.fraction(choose, before, asked)
        if fraction < asked:
            self._stop_after(state.step)
        return Pruned(number, self.goal.rounds, fraction, *choose(fraction), model)

    def finish(self, model: nn.Module) -> GoalRound:
        """Measures the network at the end of the newest round. model: a copy of its own."""
        assert self.newest is not None
        model = set_types(model, types_of(self.context.model))
        self.newest = replace(self.newest, model=model)
        self.measured.append(self.goal.measured(self.newest))
        return self.measured[-1]

    def _stop_after(self, step: int) -> None:
        self.when = {at: share for at, share in self.when.items() if at <= step}


@dataclass(frozen=True)
class Gradual(GoalSettings):
    """Prune by the plan's criterion during training, at several steps of one part of it.

    With a goal, the network is measured before each pruning and after the training. Once it misses
    the goal, the training continues from the last good round, without pruning.
    """

    help: str = (
        "Prunes during training: each round of the schedule is one pruning between two steps, "
        "with new scores of the weights at that step."
    )
    formula: str = "at n steps between begin and end: m = m & top(score(w_t), f(k/n)); no regrowth"
    needs: ClassVar[str] = READS_CRITERION
    passes: ClassVar[str] = "1 forward, 1 backward per step; the criterion's at each pruning"
    scheduled: ClassVar[bool] = True
    scored: ClassVar[bool] = True
    label: str = "Gradual, during training"
    source: str = "Zhu and Gupta 2017, arXiv:1710.01878"
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "magnitude_l1"),
        ("granularity", "fine"),
        ("schedule", "agp:20"),
    )
    begin: float = setting(
        0.0, 0.0, 0.95, "The first pruning, as a fraction of all steps.", label="First pruning at"
    )
    end: float = setting(
        0.6,
        0.05,
        1.0,
        "The last pruning, as a fraction of all steps; then the network recovers.",
        label="Last pruning at",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        schedule = context.plan.schedule
        when = shares(pruning_steps(self, context, schedule.rounds), schedule)
        if self.has_goal:
            yield from self._until_goal(context, when)
            return
        rule = Timed(
            when,
            lambda state, fraction: next_masks(context, state.snapshot(), state.masks, fraction),
            kept={},
        )
        yield from train_with_rule(context, rule, context.model, {}, regrows=False)

    def _until_goal(self, context: FlowContext, when: Mapping[int, float]) -> Iterator[Event]:
        goal = Goal(self, context, len(when))
        rule = _UntilGoal(context=context, goal=goal, when=when)
        model = context.model
        reported = 0
        try:
            for event in train_with_rule(context, rule, context.model, {}, regrows=False):
                yield from rule.measured[reported:]
                reported = len(rule.measured)
                yield event
                model = event.model if isinstance(event, Tuned) else model
        except PruningError:
            yield from rule.measured[reported:]
            raise
        end = rule.finish(model)
        yield end
        if not end.good:
            yield goal.restored(end)


@dataclass(frozen=True)
class Movement(FlowDefaults):
    """Remove the weights that training moves towards zero: S -= (dL/dW') W in every step.

    W' = W m is what the forward pass computes with. W: the weights of that pass, before the
    optimizer moves them; a masked weight counts with the value that it keeps (straight-through).
    The share grows on a cubic curve from begin to end. Masked weights have no gradient, but keep
    their values, which momentum and weight decay still move, as in the released code; their scores
    change, so they may return. The highest S are kept, not the highest
    |S|. As released, S is trained by AdamW without weight decay, at the rate `score_lr`, which
    rises and falls as the learning rate of the training does. Without `adamw`, S is the plain sum:
    SGD with a constant rate, which multiplies all scores alike and is left out. As in
    the released code, the mask is chosen in every step until the last one and reaches the target
    at `end`. With `cuts`, it is chosen that many times, the last time at `end`.
    """

    help: str = (
        "Removes weights that training moves towards zero, however large they are. "
        "Scores are learned during training; removed weights may return. The mask is chosen "
        "in every step until the last one."
    )
    formula: str = (
        "S: AdamW on the slopes (dL/dW') W, or S = - their sum; "
        "keep top(S, v(t)), v cubic; W' = W m"
    )
    regrows: ClassVar[bool] = True
    label: str = "Movement pruning"
    source: str = "Sanh et al. 2020, arXiv:2005.07683"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "uniform"))
    begin: float = first_pruning()
    end: float = mask_fixed(0.7)
    cuts: int = setting(
        0,
        0,
        500,
        "How many times the mask is chosen. 0: in every step until the last one, as in the "
        "authors' code; fewer times often end worse.",
        label="Times the mask is chosen",
    )
    adamw: bool = setting(
        True,
        0,
        1,
        "Train the scores by AdamW, as the authors do. Off: add the slopes up.",
        label="Train scores by AdamW",
    )
    score_lr: float = setting(
        0.01,
        1e-6,
        10.0,
        "The highest learning rate of the scores (AdamW).",
        label="Learning rate of scores",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        total = total_steps(context)
        when = shares(pruning_steps(self, context, self.cuts or total), agp)
        if not self.cuts:
            when |= dict.fromkeys(range(max(when) + 1, total), 1.0)
        scores = {layer.name: torch.zeros(layer.shape) for layer in context.layers}
        optimizer = self._optimizer(list(scores.values()))

        def watch(state: StepState) -> None:
            if self.adamw:
                rate = learning_rate(context.config, state.step, state.total) / context.config.lr
                optimizer.param_groups[0]["lr"] = self.score_lr * rate
            for name, gradient in state.gradients.items():
                scores[name].grad = (gradient * state.previous[name]).cpu()
            optimizer.step()

        def choose(state: StepState, fraction: float) -> Chosen:
            return context.plan.choose(context.pooled(scores, "sum"), fraction)

        rule = Timed(
            when,
            choose,
            watch,
            keeps_values=True,
            reads_previous=True,
            kept={"scores": KeptTensors(scores), "optimizer": KeptOptimizer(optimizer)},
        )
        yield from train_with_rule(context, rule, context.model, {}, regrows=True)

    def _optimizer(self, scores: list[Tensor]) -> torch.optim.Optimizer:
        """Moves the scores against their slopes."""
        if self.adamw:
            return AdamW(scores, lr=self.score_lr, weight_decay=0.0)
        return SGD(scores, lr=1.0)


class UncertainImportance:
    """PLATON's scores: S = Ibar U.

    I: |w g| averaged in windows of steps; Ibar: its running average; U: the running average of
    |I - Ibar|.
    """

    def __init__(self, beta1: float, beta2: float, window: int) -> None:
        self._beta1 = beta1
        self._beta2 = beta2
        self._window = window
        self._steps = 0
        self._sum: dict[str, Tensor] = {}
        self._mean: dict[str, Tensor] = {}
        self._uncertainty: dict[str, Tensor] = {}

    def add(self, state: StepState) -> None:
        """Adds one step; the running averages change at the end of a window."""
        self._steps += 1
        for name, gradient in state.gradients.items():
            share = (state.weights[name] * gradient).abs() / self._window
            self._sum[name] = self._sum[name] + share if name in self._sum else share
        if self._steps % self._window == 0:
            for name, importance in self._sum.items():
                self._average(name, importance)
            self._sum = {}

    def _average(self, name: str, importance: Tensor) -> None:
        nothing = torch.zeros_like(importance)
        mean = self._beta1 * self._mean.get(name, nothing) + (1 - self._beta1) * importance
        deviation = (importance - mean).abs()
        self._mean[name] = mean
        self._uncertainty[name] = (
            self._beta2 * self._uncertainty.get(name, nothing) + (1 - self._beta2) * deviation
        )

    def state_dict(self) -> State:
        averages = {"sum": self._sum, "mean": self._mean, "uncertainty": self._uncertainty}
        return {"steps": self._steps, **averages}

    def load_state_dict(self, state: State) -> None:
        self._steps = state["steps"]
        self._sum = state["sum"]
        self._mean = state["mean"]
        self._uncertainty = state["uncertainty"]

    def scores(self) -> dict[str, Tensor]:
        """S = Ibar U of every weight; empty before the first window is complete."""
        return {name: mean * self._uncertainty[name] for name, mean in self._mean.items()}


@dataclass(frozen=True)
class Platon(FlowDefaults):
    """Keep weights with high importance times its uncertainty.

    I = |w g| of every step, averaged in windows; as in the released code, w is read after the step
    that g makes. The mask is chosen at the end of windows, on a cubic curve. Weights outside it
    are set to zero at that moment only: until the next one they are trained as all others, so they
    can earn importance and return. From `end` on, the mask is fixed and its zeros are held. With
    `released`, as in the released code, a window's mask is set one step later, and from `end` on
    the mask follows the scores in every step until the last one.
    """

    help: str = (
        "Keeps weights with a high and uncertain sensitivity |w g|, averaged over steps. Weights "
        "are set to zero at each mask update and move in between: removed weights may return. In "
        "the authors' code the mask changes until the last step: `released`."
    )
    formula: str = (
        "I = mean |w g| over a window; Ibar = b1 Ibar + (1 - b1) I; "
        "U = b2 U + (1 - b2)|I - Ibar|; S = Ibar U"
    )
    needs: ClassVar[str] = (
        "labelled images, at least one epoch and one window of steps; no criterion"
    )
    regrows: ClassVar[bool] = True
    label: str = "PLATON"
    source: str = "Zhang et al. 2022, arXiv:2206.12562"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "global"))
    begin: float = first_pruning()
    end: float = mask_fixed(0.7)
    window: int = setting(
        10, 1, 1000, "The number of steps whose sensitivity is averaged.", label="Steps averaged"
    )
    beta1: float = setting(
        0.85,
        0.0,
        0.999,
        "Memory of the importance, in windows. Near 1: long memory.",
        label="β₁, importance",
    )
    beta2: float = setting(
        0.95,
        0.0,
        0.999,
        "Memory of the uncertainty, in windows. Near 1: long memory.",
        label="β₂, uncertainty",
    )
    released: bool = setting(
        False,
        0,
        1,
        "Set a window's mask one step later, and let it follow the scores until the last step, as "
        "in the authors' code. No training with a fixed mask follows.",
        label="Steps of the authors' code",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        importance = UncertainImportance(self.beta1, self.beta2, self.window)
        every = pruning_steps(self, context, total_steps(context))
        last = total_steps(context) - 1 - self.released
        steps = tuple(step for step in every if (step + 1) % self.window == 0 and step <= last)
        if not steps:
            raise PruningError(
                f"No window of {self.window} steps ends between begin and end: "
                "train for longer, or set a shorter window."
            )

        when = shares(steps, agp)
        if self.released:
            later = dict.fromkeys(range(steps[-1] + 2, total_steps(context)), 1.0)
            when = {step + 1: share for step, share in when.items()} | later

        def choose(state: StepState, fraction: float) -> Chosen:
            groups = context.pooled(importance.scores(), "mean_abs")
            return context.plan.choose(groups, fraction)

        kept = {"importance": importance}
        rule = Timed(
            when, choose, importance.add, trains_removed=True, holds_zeros=False, kept=kept
        )
        yield from train_with_rule(context, rule, context.model, {}, regrows=True)

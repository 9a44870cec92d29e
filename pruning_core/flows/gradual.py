"""Flows that cut more and more while the network trains: by the plan's criterion, or by scores
learned on the way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from pruning_core.flows.masking import StepState, Timed, steps_in_all, trained, update_steps
from pruning_core.flows.protocol import Chosen, Event, Flow, FlowContext, need_epochs, setting
from pruning_core.flows.rounds import next_masks
from pruning_core.schedule import Agp
from pruning_core.types import PruningError

WINDOW = "as a share of all steps"


def curve(steps: tuple[int, ...], shape: Callable[[float], float]) -> dict[int, float]:
    """Step -> share of the target, at equal progress from one cut to the next; the last is 1."""
    return {step: shape((k + 1) / len(steps)) for k, step in enumerate(steps)}


@runtime_checkable
class Windowed(Flow, Protocol):
    """A flow that cuts in a part of the training."""

    @property
    def begin(self) -> float: ...
    @property
    def end(self) -> float: ...


def cutting_steps(flow: Windowed, work: FlowContext, count: int) -> tuple[int, ...]:
    """At most `count` steps of the flow's part of the training. Raises PruningError where either of
    them is empty.
    """
    need_epochs(flow, work)
    if flow.end <= flow.begin:
        raise PruningError(
            f"{flow.label} ends its cuts before it begins them: set end above begin."
        )
    return update_steps(work, flow.begin, flow.end, count)


@dataclass(frozen=True)
class Gradual:
    """The plan's criterion again and again while the network trains: the cuts of the schedule,
    spread over part of the steps.
    """

    help: ClassVar[str] = (
        "Cuts while the network trains: the schedule's rounds are cuts between two steps, scored anew on the weights of then."
    )
    formula: ClassVar[str] = (
        "at n steps between begin and end: m = m & top(score(w_t), f(k/n)); no regrowth"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; what the criterion reads"
    passes: ClassVar[str] = "1 forward, 1 backward a step; the criterion's at each cut"
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = True
    label: str = "Gradual, while training"
    source: str = "Zhu and Gupta 2017, arXiv:1710.01878"
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "magnitude_l1"),
        ("granularity", "fine"),
        ("schedule", "agp:20"),
    )
    begin: float = setting(0.0, 0.0, 0.95, f"When the first cut may come, {WINDOW}.")
    end: float = setting(
        0.6, 0.05, 1.0, f"When the last cut comes, {WINDOW}; then the network recovers."
    )

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        when = curve(cutting_steps(self, work, work.schedule.rounds), work.schedule)
        rule = Timed(
            when,
            lambda moment, fraction: next_masks(work, moment.snapshot(), moment.masks, fraction),
        )
        yield from trained(work, rule, work.model, {}, regrows=False)


@dataclass(frozen=True)
class Movement:
    """Weights that training moves towards zero go: S -= (dL/dW') W in every step, W' = W m what the
    forward pass computes with.

    W: the weights of that pass, before the optimizer moves them, masked ones as they lie underneath
    (straight-through). Cubic from begin to end; masked weights keep their values underneath without
    being trained, their scores go on, so that they may return. The highest S stay, not the highest
    |S|; the paper's learning rate of S scales all scores alike and is left out.
    """

    help: ClassVar[str] = (
        "Weights go that training moves towards zero, however large they are. Scores are learned in training; weights may return."
    )
    formula: ClassVar[str] = (
        "S = - sum over steps of (dL/dW') W; keep top(S, v(t)), v cubic; W' = W m"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; no criterion"
    passes: ClassVar[str] = "1 forward, 1 backward a step, and none besides"
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "Movement pruning"
    source: str = "Sanh et al. 2020, arXiv:2005.07683"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "uniform"))
    begin: float = setting(0.1, 0.0, 0.95, f"Plain training before the first cut, {WINDOW}.")
    end: float = setting(0.7, 0.05, 1.0, f"When the mask is frozen, {WINDOW}.")
    cuts: int = setting(20, 1, 500, "How many times the mask is chosen anew.")

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        when = curve(cutting_steps(self, work, self.cuts), Agp())
        scores = {layer.name: torch.zeros(layer.shape) for layer in work.prunable}

        def watch(moment: StepState) -> None:
            for name, g in moment.slopes.items():
                scores[name] -= (g * moment.before[name]).cpu()

        def choose(moment: StepState, fraction: float) -> Chosen:
            return work.choose(work.pooled(scores, "sum"), fraction)

        yield from trained(
            work,
            Timed(when, choose, watch, hidden=True, recalls=True),
            work.model,
            {},
            regrows=True,
        )


class Uncertain:
    """PLATON's importance: I = |w g| averaged in windows, then Ibar its running average, U that of
    |I - Ibar|, S = Ibar U.
    """

    def __init__(self, beta1: float, beta2: float, window: int) -> None:
        self._beta1 = beta1
        self._beta2 = beta2
        self._window = window
        self._steps = 0
        self._sum: dict[str, Tensor] = {}
        self._mean: dict[str, Tensor] = {}
        self._doubt: dict[str, Tensor] = {}

    def add(self, moment: StepState) -> None:
        """One more step; at the end of a window the averages move."""
        self._steps += 1
        for name, g in moment.slopes.items():
            now = (moment.before[name] * g).abs() / self._window
            self._sum[name] = self._sum[name] + now if name in self._sum else now
        if self._steps % self._window == 0:
            for name, found in self._sum.items():
                mean = (
                    self._beta1 * self._mean.get(name, torch.zeros_like(found))
                    + (1 - self._beta1) * found
                )
                doubt = (found - mean).abs()
                self._mean[name] = mean
                self._doubt[name] = (
                    self._beta2 * self._doubt.get(name, torch.zeros_like(found))
                    + (1 - self._beta2) * doubt
                )
            self._sum = {}

    def scores(self) -> dict[str, Tensor]:
        """S = Ibar U of every weight; before the first window is full, nothing."""
        return {name: mean * self._doubt[name] for name, mean in self._mean.items()}


@dataclass(frozen=True)
class Platon:
    """Importance times its uncertainty: weights that are important, or might be, stay (Zhang et al.
    2022, arXiv:2206.12562).

    I = |w g| of every pass, w the weights that g was computed with, as in the paper (its released
    code takes those after the step), averaged in windows; the mask is chosen at the end of windows,
    on a cubic curve. Masked weights are zero in every pass and so earn nothing new: what they
    earned before only fades, and they return where that of others fades faster.
    """

    help: ClassVar[str] = (
        "Sensitivity |w g|, smoothed over steps and raised where it varies: uncertain weights get a second chance and may return."
    )
    formula: ClassVar[str] = (
        "I = mean |w g| over a window; Ibar = b1 Ibar + (1 - b1) I; U = b2 U + (1 - b2)|I - Ibar|; S = Ibar U"
    )
    needs: ClassVar[str] = (
        "labelled images, at least one epoch and one window of steps; no criterion"
    )
    passes: ClassVar[str] = "1 forward, 1 backward a step, and none besides"
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "PLATON"
    source: str = "Zhang et al. 2022, arXiv:2206.12562"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "global"))
    begin: float = setting(0.1, 0.0, 0.95, f"Plain training before the first cut, {WINDOW}.")
    end: float = setting(0.7, 0.05, 1.0, f"When the mask is frozen, {WINDOW}.")
    window: int = setting(10, 1, 1000, "Steps whose sensitivity is averaged before it counts.")
    beta1: float = setting(
        0.85, 0.0, 0.999, "Memory of the importance, in windows: near 1 is long."
    )
    beta2: float = setting(
        0.95, 0.0, 0.999, "Memory of the uncertainty, in windows: near 1 is long."
    )

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        found = Uncertain(self.beta1, self.beta2, self.window)
        steps = tuple(
            step
            for step in cutting_steps(self, work, steps_in_all(work))
            if (step + 1) % self.window == 0
        )
        if not steps:
            raise PruningError(
                f"No window of {self.window} steps ends between begin and end: train for longer or shorten it."
            )

        def choose(moment: StepState, fraction: float) -> Chosen:
            return work.choose(work.pooled(found.scores(), "mean_abs"), fraction)

        rule = Timed(curve(steps, Agp()), choose, found.add, dense=True, recalls=True)
        yield from trained(work, rule, work.model, {}, regrows=True)

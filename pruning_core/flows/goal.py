"""Prune and train until the goal is met: how much may be lost, or how much may remain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.flows.protocol import Chosen, FlowContext, FlowDefaults, Share, least_met
from pruning_core.granularity import need_channels
from pruning_core.settings import setting
from pruning_core.tasks.task import Task
from pruning_core.types import Evaluation, GoalRound, Masks, Pruned, PruningError, Split
from pruning_core.zoo import probe

ANY_LOSS = -1.0
BISECTIONS = 12
TIMED_BISECTIONS = 6
"""A measured time is not more exact than a 64th of a round."""
COUNTS = {"parameters": "parameters", "macs": "MACs"}
COSTS = {"bytes": "stored bytes", "time": "time"}
BUDGETS = COUNTS | COSTS
"""What a goal can limit, with its name inside a sentence: counts, and what `FlowContext.costs`
computes or measures.
"""


@dataclass(frozen=True, kw_only=True)
class GoalSettings(FlowDefaults):
    """The goal of a flow that prunes in rounds; without one it takes all rounds of the schedule."""

    lose: float = setting(
        ANY_LOSS,
        ANY_LOSS,
        1e6,
        "Stop before more than this is lost against the dense network, on the probe: 0.01 is one "
        "point of accuracy. Below 0: no limit.",
    )
    parameters: float = setting(
        1.0, 0.0, 1.0, "Stop when at most this share of the parameters remains. 1: no budget."
    )
    macs: float = setting(
        1.0, 0.0, 1.0, "Stop when at most this share of the MACs remains. 1: no budget."
    )

    bytes: float = setting(
        1.0,
        0.0,
        1.0,
        "Stop when at most this share of the dense file's bytes remains, in the smallest sparse "
        "format. 1: no budget.",
    )
    time: float = setting(
        1.0,
        0.0,
        1.0,
        "Stop when the thinned network takes at most this share of the dense time, measured in "
        "PyTorch on the CPU. 1: no budget.",
    )

    @property
    def budgets(self) -> dict[str, float]:
        """The shares that may remain, by name."""
        return {name: keep for name in BUDGETS if (keep := getattr(self, name)) < 1}

    @property
    def has_goal(self) -> bool:
        """Is there a limit of the loss or a budget?"""
        return self.lose >= 0 or bool(self.budgets)


@dataclass(eq=False)
class Goal:
    """Measures the rounds of a flow and keeps the last good one.

    costs: of the newest masks, for budgets that no count gives.
    Raises PruningError where not even the first round is good, for a budget that the context cannot
    measure, and for one of time where no channels are removed.
    """

    settings: GoalSettings
    context: FlowContext
    rounds: int
    last_good: Pruned | None = None
    least: float | None = field(init=False, default=None)
    costs: Mapping[str, Share] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        _check_budgets(self.settings.budgets, self.context)
        data = self.context.dataset
        self._judge = Judge.of(data)
        self._split: Split = probe(data.val, self.context.plan.probe)
        if self.settings.lose >= 0:
            dense = self._evaluation(self.context.plan.space.model)
            # As in `farthest`: a loss that equals the limit but for rounding is within it.
            self.least = dense.value - data.task.sign * (self.settings.lose + 1e-12)

    def fraction(self, choose: Callable[[float], Chosen], low: float, high: float) -> float:
        """The share of the target for this round: `high`, or less where that meets the budgets.

        By bisection, so that the last round removes no more than the budgets ask for.
        low: the share of the round before.
        """
        self.costs = {}
        if not self.settings.budgets or not self._met(choose(high)):
            return high
        steps = TIMED_BISECTIONS if self.settings.time < 1 else BISECTIONS
        return least_met(lambda share: self._met(choose(share)), low, high, steps)

    def _met(self, chosen: Chosen) -> bool:
        """Are all budgets met? Then these are the newest costs. What is quick is asked first."""
        masks = chosen[1]
        budgets = self.settings.budgets
        left = self.context.plan.counts(masks).remaining
        if any(left[name] > keep for name, keep in budgets.items() if name in left):
            return False
        costs = self._costs(masks)
        if any(cost.left > budgets[name] for name, cost in costs.items()):
            return False
        self.costs = costs
        return True

    def _costs(self, masks: Masks) -> dict[str, Share]:
        known = self.context.costs
        return {name: known[name](masks) for name in self.settings.budgets if name in known}

    def measured(self, done: Pruned) -> GoalRound:
        """The round that is over. done: its masks, with the network after its training.

        Bytes and time depend on the masks alone: those that met the budget are not measured again.
        """
        costs = self.costs or self._costs(done.masks)
        end = GoalRound(
            done.round,
            self.rounds,
            self._evaluation(self._repaired(done)),
            self.least,
            self.context.plan.counts(done.masks, done.model),
            self.settings.budgets,
            {name: cost.left for name, cost in costs.items()},
            tuple(cost.note for cost in costs.values() if cost.note),
        )
        if end.good:
            self.last_good = done
        return end

    def restored(self, missed: GoalRound) -> Pruned:
        """The last good round, where this one misses the goal.

        Raises PruningError where there is no good round.
        """
        if self.last_good is None:
            task = missed.evaluation.task
            raise PruningError(
                f"Round {missed.round} of {missed.rounds} already misses the goal: "
                f"{task.short_label} {task.text(missed.evaluation.value)} on {missed.evaluation.n} "
                f"probe {task.samples}, the goal is {goal_words(missed)}. Choose more rounds, a "
                "lower sparsity or a larger loss."
            )
        return self.last_good

    def _repaired(self, done: Pruned) -> nn.Module:
        """Without training, a run ends with the plan's repair (`pipeline.prune`)."""
        if self.context.config.epochs:
            return done.model
        return self.context.plan.repaired_copy(done.masks, done.model)

    def _evaluation(self, model: nn.Module) -> Evaluation:
        return self._judge.evaluate(model, self._split, self.context.device)


def _check_budgets(budgets: Mapping[str, float], context: FlowContext) -> None:
    for name in budgets:
        if name in COSTS and name not in context.costs:
            raise PruningError(
                f"The goal limits the {COSTS[name]}, which is not measured here: give `prune` the "
                "costs of pruning_core.compress.goal_costs.COSTS."
            )
    if "time" in budgets:
        need_channels(context.plan.granularity)


Write = Callable[[float, Task], str]
"""Writes a task's value."""


def _task_text(value: float, task: Task) -> str:
    return task.text(value)


def goal_words(end: GoalRound, write: Write = _task_text) -> str:
    """The limit of the value: at least 0.9400."""
    task = end.evaluation.task
    if end.least is None:
        return "any value"
    value = write(end.least, task)
    return f"at least {value}" if task.higher_is_better else f"at most {value}"


def ending_words(rounds: Sequence[GoalRound], write: Write = _task_text) -> str:
    """Why a flow with a goal ended, in one or two sentences; "" without rounds."""
    if not rounds:
        return ""
    last = rounds[-1]
    missed = [end for end in rounds if not end.good]
    if missed:
        task = last.evaluation.task
        good = [end.round for end in rounds if end.good]
        result = f"The result is round {good[-1]}." if good else "No round is good."
        return (
            f"Round {missed[-1].round} missed the goal: {task.short_label} "
            f"{write(missed[-1].evaluation.value, task)}, the goal is {goal_words(last, write)}. "
            f"{result}"
        )
    further = "A higher sparsity in the plan lets the flow continue."
    if last.reached:
        said = [f"Round {last.round} met the budget of {budget_words(last)}."]
    elif last.budgets:
        budget = budget_words(last)
        said = [f"All {last.rounds} rounds kept the goal, but not the budget of {budget}.", further]
    else:
        said = [f"All {last.rounds} rounds kept the goal.", further]
    return " ".join((*said, *last.notes))


def round_words(end: GoalRound) -> str:
    """A round in one line: its value, what it removes, and whether it keeps the goal."""
    task = end.evaluation.task
    verdict = "within the goal" if end.good else "misses the goal"
    return (
        f"round {end.round} of {end.rounds}: {end.report.sparsity_masked:.1%} removed, "
        f"{task.short_label} {task.text(end.evaluation.value)} on {end.evaluation.n} probe "
        f"{task.samples}, {verdict}"
    )


def budget_words(end: GoalRound) -> str:
    """The budgets with what remains: 50.0% of the MACs (49.9% remain)."""
    left = end.remaining
    return " and ".join(
        f"{keep:.1%} of the {BUDGETS[name]} ({left[name]:.1%} remain)"
        for name, keep in end.budgets.items()
    )

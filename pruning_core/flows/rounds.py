"""Flows that prune between trainings: rounds, lottery tickets, sparsity-inducing training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from pruning_core.flows.goal import Goal, GoalSettings
from pruning_core.flows.protocol import (
    Chosen,
    Event,
    FlowContext,
    FlowDefaults,
    least_met,
)
from pruning_core.masks import exclude_removed, intersect, kept_groups
from pruning_core.model.model_io import copy_model, tensors_of
from pruning_core.penalties import PENALTIES
from pruning_core.schedule import fractions
from pruning_core.settings import setting
from pruning_core.training.config import TrainConfig, steps_per_epoch
from pruning_core.training.hook import Hook, StatelessHook
from pruning_core.training.state_files import State
from pruning_core.types import Masks, Pruned, PruningError, Ratios, Tuned

BISECTIONS = 20
READS_CRITERION = "labelled images, at least one epoch; what the criterion reads"


def choices(
    context: FlowContext, model: nn.Module, masks: Masks
) -> Callable[[float], tuple[Ratios, Masks]]:
    """Share of the target -> ratios and masks, by the plan's criterion on this model.

    Removed weights stay removed.
    """
    plan = context.plan
    groups = exclude_removed(plan.scores(model), masks, context.layers, plan.granularity)

    def choose(fraction: float) -> tuple[Ratios, Masks]:
        ratios, chosen = plan.choose(groups, fraction)
        return ratios, intersect(masks, chosen)

    return choose


def next_masks(
    context: FlowContext, model: nn.Module, masks: Masks, fraction: float
) -> tuple[Ratios, Masks]:
    """Ratios and masks at a share of the target (`choices`)."""
    return choices(context, model, masks)(fraction)


@dataclass(frozen=True)
class Rounds(GoalSettings):
    """Score, prune and fine-tune, in the rounds of the schedule, until the goal is met.

    fresh: pruning at initialization, as SNIP, GraSP and SynFlow do: new random weights from the
    training's seed are scored, pruned and trained. Raises PruningError where the network cannot be
    initialised again.
    With a goal, the rounds end before one that loses more than `lose`, whose masks and network are
    given up, or with the one that meets the budgets, which removes no more than they ask for.
    """

    help: str = (
        "Prunes, fine-tunes and scores again, in the rounds of the schedule. "
        "Removed weights stay removed."
    )
    formula: str = "for every round k: m = m & top(score(w), f(k/n)); w = train(w m)"
    needs: ClassVar[str] = (
        "what the criterion reads; labelled images and epochs for the training between rounds"
    )
    passes: ClassVar[str] = (
        "the criterion's in each round; training: 1 forward, 1 backward per step"
    )
    trains: ClassVar[bool] = False
    trainings: ClassVar[tuple[int, int]] = (1, 0)
    scheduled: ClassVar[bool] = True
    scored: ClassVar[bool] = True
    label: str = "Rounds of pruning and fine-tuning"
    source: str = "Han et al. 2015, arXiv:1506.02626"
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "magnitude_l1"),
        ("granularity", "fine"),
    )
    fresh: bool = setting(
        False,
        0,
        1,
        "Prune new random weights, then train them: for SNIP, GraSP and SynFlow.",
        label="New random weights",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        steps = fractions(context.plan.schedule)
        goal = Goal(self, context, len(steps)) if self.has_goal else None
        model = context.plan.fresh_model(context.config.seed) if self.fresh else context.model
        masks = Masks()
        before = 0.0
        for number, fraction in enumerate(steps, start=1):
            choose = choices(context, model, masks)
            share = goal.fraction(choose, before, fraction) if goal else fraction
            ratios, masks = choose(share)
            pruned = Pruned(
                number, len(steps), share, ratios, masks, context.plan.masked_copy(masks, model)
            )
            yield pruned
            model = pruned.model
            for event in context.fine_tune(model, masks) if context.config.epochs else ():
                yield event
                model = event.model if isinstance(event, Tuned) else model
            if goal is not None:
                end = goal.measured(replace(pruned, model=model))
                yield end
                if not end.good:
                    yield goal.restored(end)
                if end.reached or not end.good:
                    return
            before = fraction


class _KeepEarlyState(Hook):
    """Copies the network's state after a number of steps; the last epoch counts as the best."""

    settled = False

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.state: dict[str, Tensor] = {}

    def begin(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._model = model
        if not self._steps:
            self._copy()

    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        if done + 1 == self._steps:
            self._copy()
        return ()

    def state_dict(self) -> State:
        return {"early": self.state}

    def load_state_dict(self, state: State) -> None:
        self.state = state["early"]

    def _copy(self) -> None:
        self.state = {
            name: value.detach().clone().cpu() for name, value in tensors_of(self._model).items()
        }


@dataclass(frozen=True)
class Lottery(FlowDefaults):
    """Train, prune, set the kept weights back to their early values, and train again.

    Weights, norms and biases get their state after `rewind` epochs of the first, dense training
    (0: before it). This training starts from new random weights (`fresh`), or from the trained
    network (Chen et al. 2020, arXiv:2007.12223). As in the authors' code, later trainings continue
    after epoch `rewind` (`resume`), with an empty state of the optimizer, and every round scores
    the weights of the last epoch; the result is the best epoch of the last training.
    Raises PruningError where `rewind` is after the end of the training, where no epoch follows it,
    or the network cannot be initialised again.
    """

    help: str = (
        "Trains dense, prunes, sets the kept weights back to their early values and trains again "
        "from that epoch on, in the rounds of the schedule."
    )
    formula: str = (
        "w_T = train(w_0); for every round: m = m & top(score(w_T), f(k/n)); "
        "w_T = train(w_rewind m)"
    )
    needs: ClassVar[str] = READS_CRITERION
    passes: ClassVar[str] = (
        "one training more than Rounds: 1 forward, 1 backward per step; "
        "the criterion's in each round"
    )
    trainings: ClassVar[tuple[int, int]] = (1, 1)
    scheduled: ClassVar[bool] = True
    scored: ClassVar[bool] = True
    label: str = "Lottery ticket (rewinding)"
    source: str = (
        "Frankle and Carbin 2019, arXiv:1803.03635; "
        "rewinding: Frankle et al. 2020, arXiv:1912.05671"
    )
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "magnitude_l1"),
        ("granularity", "fine"),
        ("allocation", "global"),
        ("schedule", "exponential:5"),
    )
    rewind: int = setting(
        0,
        0,
        200,
        "The epoch of the dense training to go back to; 0: the state before it.",
        label="Rewind to epoch",
    )
    fresh: bool = setting(
        True,
        0,
        1,
        "Start from new random weights. Off: start from the trained network.",
        label="New random weights",
    )
    resume: bool = setting(
        True,
        0,
        1,
        "Train again from the epoch to go back to, as the authors do. Off: in full.",
        label="Resume at that epoch",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        skip = self.rewind if self.resume else 0
        if skip and skip >= context.config.epochs:
            raise PruningError(
                f"No training is left after epoch {skip}: choose an earlier epoch to go back to, "
                "or train for longer."
            )
        per_epoch = steps_per_epoch(len(context.dataset.train), context.config.batch_size)
        hook = _KeepEarlyState(self.rewind * per_epoch)
        seed = context.config.seed
        model = context.plan.fresh_model(seed) if self.fresh else context.model
        for event in context.fine_tune(model, {}, hook=hook):
            yield event
            model = event.model if isinstance(event, Tuned) else model
        early = self._with_state(model, hook.state)
        masks = Masks()
        steps = fractions(context.plan.schedule)
        for number, fraction in enumerate(steps, start=1):
            ratios, masks = next_masks(context, model, masks, fraction)
            model = context.plan.masked_copy(masks, early)
            yield Pruned(number, len(steps), fraction, ratios, masks, model)
            last = None if number == len(steps) else _LastEpoch()
            for event in context.fine_tune(model, masks, hook=last, skip=skip):
                yield event
                model = event.model if isinstance(event, Tuned) else model

    def _with_state(self, model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
        """A copy of the model in its state at the epoch to go back to."""
        if not state:
            raise PruningError(
                f"The training ends before epoch {self.rewind}: "
                "choose an earlier epoch to go back to, or train for longer."
            )
        early = copy_model(model)
        early.load_state_dict(early.state_dict() | state)
        return early


class _LastEpoch(StatelessHook):
    """The last epoch counts as the best."""

    settled = False


def removed_groups(context: FlowContext, masks: Masks) -> float:
    """The share of the groups of all layers that the masks remove."""
    kept = kept_groups(masks, context.layers, context.plan.granularity).values()
    return 1 - sum(int(keep.sum()) for keep in kept) / sum(keep.numel() for keep in kept)


@dataclass(frozen=True, kw_only=True)
class SparseTraining(FlowDefaults):
    """Train dense with a penalty that makes groups small, prune once, then fine-tune.

    The fine-tuning has the plan's own penalty, by default none. Group lasso uses the plan's
    granularity, in all layers that support it.
    """

    help: str = (
        "Trains first with a penalty that makes groups small, so that their removal costs little; "
        "then prunes once and fine-tunes."
    )
    formula: str = (
        "loss + strength x penalty; "
        "penalty: sum |gamma| over batch norms, or sum over groups of ||W_G||_2"
    )
    needs: ClassVar[str] = READS_CRITERION
    passes: ClassVar[str] = "two trainings: 1 forward, 1 backward per step; the criterion's once"
    trainings: ClassVar[tuple[int, int]] = (0, 2)
    scored: ClassVar[bool] = True
    label: str
    source: str
    published: tuple[tuple[str, str], ...]
    penalty: str
    strength: float = setting(
        1e-4, 0.0, 1.0, "The weight of the penalty in the loss.", label="Penalty strength"
    )
    groups: bool = setting(
        False,
        0,
        1,
        "The plan's sparsity is the share of the groups to remove, such as channels, not of the "
        "weights.",
        label="Groups",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        model = context.model
        for event in replace(context, config=self._penalised(context)).fine_tune(
            model, {}, hook=_LastEpoch()
        ):
            yield event
            model = event.model if isinstance(event, Tuned) else model
        ratios, masks = self._chosen(context, model)
        model = context.plan.masked_copy(masks, model)
        yield Pruned(1, 1, 1.0, ratios, masks, model)
        yield from context.fine_tune(model, masks)

    def _chosen(self, context: FlowContext, model: nn.Module) -> Chosen:
        """The masks at the target, counted in weights or in groups."""
        if not self.groups:
            return next_masks(context, model, {}, 1.0)
        sparsity = context.plan.sparsity
        whole = replace(context, plan=replace(context.plan, sparsity=1.0))
        choose = choices(whole, model, {})

        def reached(fraction: float) -> bool:
            return removed_groups(whole, choose(fraction)[1]) >= sparsity

        return choose(least_met(reached, 0.0, 1.0, BISECTIONS))

    def _penalised(self, context: FlowContext) -> TrainConfig:
        """The plan's training with this flow's penalty."""
        shaped = PENALTIES[self.penalty].per_group
        name = f"{self.penalty}:{context.plan.granularity.name}" if shaped else self.penalty
        return replace(context.config, penalty=name, penalty_strength=self.strength)


SLIMMING = SparseTraining(
    help=(
        "Trains first with a penalty that makes the scales of batch norms small; then removes "
        "outputs with small scales once, and fine-tunes. The target is a share of the weights; "
        "with `groups` it is a share of the channels, by one threshold of |gamma|, as in the paper."
    ),
    label="Network slimming (L1 on batch-norm scales)",
    source="Liu et al. 2017, arXiv:1708.06519",
    published=(("criterion", "bn_scale"), ("granularity", "filter"), ("allocation", "global")),
    penalty="bn_scale_l1",
)
GROUP_LASSO = SparseTraining(
    label="Structured sparsity learning (group lasso)",
    source="Wen et al. 2016 (SSL), arXiv:1608.03665",
    published=(("criterion", "magnitude_l2"), ("granularity", "filter"), ("allocation", "global")),
    penalty="group_lasso",
)

"""Flows that cut between trainings: rounds of fine-tuning, lottery tickets, and sparsity-inducing
training.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from pruning_core.flows.protocol import Event, FlowContext, need_epochs, setting
from pruning_core.masks import exclude_removed, intersect
from pruning_core.penalties import PENALTIES
from pruning_core.schedule import fractions
from pruning_core.training.fine_tune import Hook, steps_per_epoch
from pruning_core.types import Masks, Pruned, PruningError, Tuned


def next_masks(
    work: FlowContext, model: nn.Module, masks: Masks, fraction: float
) -> tuple[dict[str, float], Masks]:
    """Ratios and masks at a share of the target by the plan's criterion on this model; nothing
    removed comes back.
    """
    groups = exclude_removed(work.score(model), masks, work.prunable, work.granularity)
    ratios, found = work.choose(groups, fraction)
    return ratios, intersect(masks, found)


@dataclass(frozen=True)
class Rounds:
    """Score, cut and fine-tune, as often as the schedule says."""

    help: ClassVar[str] = (
        "Cut, fine-tune, score again: in the rounds of the schedule. Removed weights stay removed."
    )
    formula: ClassVar[str] = "for every round k: m = m & top(score(w), f(k/n)); w = train(w m)"
    needs: ClassVar[str] = (
        "what the criterion reads; labelled images and epochs to train between cuts"
    )
    passes: ClassVar[str] = "the criterion's in each round; training: 1 forward, 1 backward a step"
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    trainings: ClassVar[tuple[int, int]] = (1, 0)
    scheduled: ClassVar[bool] = True
    label: str = "Rounds of cutting and fine-tuning"
    source: str = "Han et al. 2015, arXiv:1506.02626"
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "magnitude_l1"),
        ("granularity", "fine"),
    )

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        steps = fractions(work.schedule)
        model = work.model
        masks = Masks()
        for number, fraction in enumerate(steps, start=1):
            ratios, masks = next_masks(work, model, masks, fraction)
            model = work.apply(model, masks)
            yield Pruned(number, len(steps), fraction, ratios, masks, model)
            for event in work.tuned(model, masks) if work.config.epochs else ():
                yield event
                model = event.model if isinstance(event, Tuned) else model


class _Keeper(Hook):
    """Keeps what the network held after so many epochs; the last epoch counts as the best one."""

    settled = False

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.kept: dict[str, Tensor] = {}

    def begin(self, model: nn.Module) -> None:
        self._model = model
        if not self._steps:
            self._keep()

    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        if done + 1 == self._steps:
            self._keep()
        return ()

    def _keep(self) -> None:
        self.kept = {
            name: value.detach().clone().cpu() for name, value in self._model.state_dict().items()
        }


@dataclass(frozen=True)
class Lottery:
    """Train, cut, set what is left back to its early values, train again: does the ticket win from
    its start?

    Weights, norms and biases go back to their state after `rewind` epochs of the first, dense
    training (0: before it), which starts from new random weights (`fresh`) or from the trained
    network (Chen et al. 2020, arXiv:2007.12223). Raises PruningError where `rewind` is beyond the
    training or the network cannot be initialised anew.
    """

    help: ClassVar[str] = (
        "Train dense, cut, set the weights that are left back to their early values, train again: in the rounds of the schedule."
    )
    formula: ClassVar[str] = (
        "w_T = train(w_0); for every round: m = m & top(score(w_T), f(k/n)); w_T = train(w_rewind m)"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; what the criterion reads"
    passes: ClassVar[str] = (
        "one training more than rounds: 1 forward, 1 backward a step; the criterion's in each round"
    )
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (1, 1)
    scheduled: ClassVar[bool] = True
    label: str = "Lottery ticket (rewinding)"
    source: str = "Frankle and Carbin 2019, arXiv:1803.03635; rewinding: Frankle et al. 2020, arXiv:1912.05671"
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
        "Epochs of the dense training after which the weights are kept to go back to; 0: before it.",
    )
    fresh: bool = setting(
        True,
        0,
        1,
        "Starts from new random weights; off: from the trained network, as for fine-tuning.",
    )

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_epochs(self, work)
        keeper = _Keeper(
            self.rewind * steps_per_epoch(len(work.dataset.train), work.config.batch_size)
        )
        model = work.fresh(work.config.seed) if self.fresh else work.model
        for event in work.tuned(model, {}, hook=keeper):
            yield event
            model = event.model if isinstance(event, Tuned) else model
        early = self._early(model, keeper.kept)
        masks = Masks()
        steps = fractions(work.schedule)
        for number, fraction in enumerate(steps, start=1):
            ratios, masks = next_masks(work, model, masks, fraction)
            model = work.apply(early, masks)
            yield Pruned(number, len(steps), fraction, ratios, masks, model)
            for event in work.tuned(model, masks):
                yield event
                model = event.model if isinstance(event, Tuned) else model

    def _early(self, model: nn.Module, kept: dict[str, Tensor]) -> nn.Module:
        """A copy of the model as it was at the epoch to go back to."""
        if not kept:
            raise PruningError(
                f"The training ends before epoch {self.rewind}: rewind to an earlier one, or train for longer."
            )
        early = deepcopy(model)
        early.load_state_dict(kept)
        return early


class _ToTheEnd(Hook):
    """The last epoch counts as the best one, because groups shrink till then."""

    settled = False


@dataclass(frozen=True)
class SparseTraining:
    """Train dense with a penalty that makes groups small, cut once, fine-tune with the plan's own
    penalty, none at first.

    Group lasso takes the plan's shape of a cut, in all layers that can be cut so.
    """

    help: ClassVar[str] = (
        "First a dense training in which a penalty makes groups small, so that cutting them loses little; then fine-tuning."
    )
    formula: ClassVar[str] = (
        "loss + strength x penalty; penalty: sum |gamma| over batch norms, or sum over groups of ||W_G||_2"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; what the criterion reads"
    passes: ClassVar[str] = "two trainings: 1 forward, 1 backward a step; the criterion's once"
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 2)
    scheduled: ClassVar[bool] = False
    label: str
    source: str
    published: tuple[tuple[str, str], ...]
    penalty: str
    strength: float = setting(1e-4, 0.0, 1.0, "How strongly the penalty counts against the loss.")

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_epochs(self, work)
        model = work.model
        text = (
            f"{self.penalty}:{work.granularity.name}"
            if PENALTIES[self.penalty].shaped
            else self.penalty
        )
        config = replace(work.config, penalty=text, penalty_strength=self.strength)
        for event in replace(work, config=config).tuned(model, {}, hook=_ToTheEnd()):
            yield event
            model = event.model if isinstance(event, Tuned) else model
        ratios, masks = next_masks(work, model, {}, 1.0)
        model = work.apply(model, masks)
        yield Pruned(1, 1, 1.0, ratios, masks, model)
        yield from work.tuned(model, masks)


SLIMMING = SparseTraining(
    "Network slimming (L1 on batch-norm scales)",
    "Liu et al. 2017, arXiv:1708.06519",
    (("criterion", "bn_scale"), ("granularity", "filter"), ("allocation", "global")),
    "bn_scale_l1",
)
GROUP_LASSO = SparseTraining(
    "Structured sparsity learning (group lasso)",
    "Wen et al. 2016 (SSL), arXiv:1608.03665",
    (("criterion", "magnitude_l2"), ("granularity", "filter"), ("allocation", "global")),
    "group_lasso",
)

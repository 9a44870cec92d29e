"""What a candidate is worth: the plan's network with these ratios, repaired, on the probe."""

from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.pipeline import probe_split
from pruning_core.search.candidates import Judged
from pruning_core.search.plan_space import PlanSpace
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.types import Ratios


class PlanEvaluate:
    """Measures ratios of a plan without training, on its probe of the validation split.

    Groups are scored once. The masks of the ratios are applied, the network is repaired as the plan
    says, and only the layers behind the first changed weight are computed. measured: how many
    evaluations a search made; the others were known.
    """

    def __init__(self, space: PlanSpace) -> None:
        self.space = space
        self.measured = 0
        dataset = space.space.dataset
        self._judge = Judge.of(dataset)
        self._split = probe_split(space.plan, space.space)
        self._classes = dataset.task.name == CLASSIFICATION.name
        self._forward = IncrementalForward(
            space.resolved.space.model,
            self._split,
            judge=None if self._classes else self._judge,
            batch_size=dataset.task.batch_size,
        )

    def __call__(self, ratios: Ratios) -> Judged:
        resolved = self.space.resolved
        masks = resolved.masks(self.space.groups, self.space.all_ratios(ratios))
        return self._judged(resolved.pruned_tensors(masks))

    def run(self, ratios: Ratios) -> Judged:
        """As a call, without the values of every sample: for other processes."""
        return replace(self(ratios), evaluation=None)

    def dense(self) -> Judged:
        """What the network gives with nothing removed."""
        return self._judged({})

    def _judged(self, tensors: dict[str, Tensor]) -> Judged:
        divergence = None
        if self._classes:
            logits = self._forward.logits(tensors)
            evaluation = self._judge.summarise([self._judge.parts(logits, self._split.labels)])
            divergence = self._divergence(logits)
        else:
            evaluation = self._forward.evaluation(tensors)
        sign = evaluation.task.sign
        return Judged(
            evaluation.value, sign * evaluation.value, evaluation.loss, evaluation, divergence
        )

    def _divergence(self, logits: Float[Tensor, "n c"]) -> float:
        """The mean KL divergence of these outputs from the dense network's, in nats.

        mean over x of sum over c of p(c|x) log(p(c|x) / q(c|x)), p of the dense network.
        """
        pruned = self._log_probabilities(logits)
        dense = self._dense_outputs
        return float((dense.exp() * (dense - pruned)).sum(1).mean())

    @cached_property
    def _dense_outputs(self) -> Float[Tensor, "n c"]:
        return self._log_probabilities(self._forward.logits({}))

    def _log_probabilities(self, logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return torch.log_softmax(self._judge.judged(logits).double(), 1)

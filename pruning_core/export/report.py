"""The report of a run as JSON values: counts and measured values."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite

from pruning_core.compress.paired_times import Timing
from pruning_core.compress.storage_sizes import StoredSize
from pruning_core.plan import Plan
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.types import Evaluation, Finished, GoalRound


def evaluation_dict(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON values, without the confusion matrix and the predictions.

    Of another task than classification: its name, and the value with its label. An interval's end
    that is infinite is null.
    """
    interval = [end if isfinite(end) else None for end in evaluation.interval]
    if evaluation.classes is None or evaluation.task.name != CLASSIFICATION.name:
        return {
            "n": evaluation.n,
            "task": evaluation.task.name,
            "value": evaluation.value,
            "value_is": evaluation.task.value_label,
            "interval_95": interval,
            "loss": evaluation.loss,
            **evaluation.extras,
        }
    return {
        "n": evaluation.n,
        "top1": evaluation.value,
        "interval_95": interval,
        "top5": evaluation.extras.get("top-5"),
        "loss": evaluation.loss,
        "per_class": list(evaluation.classes.per_class),
    }


def evaluations_by_state(run: Finished) -> dict[str, Evaluation]:
    """State of the network -> its evaluation, in the order of the run. States that were not
    measured are left out.
    """
    evaluations = {
        "dense": run.dense,
        "pruned": run.pruned,
        "recalibrated": run.recalibrated,
        "tuned": run.tuned,
    }
    return {
        state: evaluation for state, evaluation in evaluations.items() if evaluation is not None
    }


def report_dict(
    plan: Plan, run: Finished, stored: Sequence[StoredSize] = (), timing: Timing | None = None
) -> dict[str, object]:
    """The report of a finished run as JSON values.

    plan: the plan; threads: number of kernel threads; computed: counts of weights and
    multiply-adds, with `sparsity_start` where the plan starts from zeros, and `thinned_outputs`
    where layers become narrower; measured: value
    and loss of each state; stored_bytes: computed, by storage format, where `stored` has them;
    time: `timing`, where it was measured, with why it may be wrong; goal: the rounds of a flow with
    a goal, the one that misses it included.
    """
    measured = {
        state: evaluation_dict(evaluation)
        for state, evaluation in evaluations_by_state(run).items()
    }
    computed = asdict(run.report)
    for name in ("sparsity_start", "thinned_outputs"):
        if not computed[name]:
            del computed[name]
    goal = {"goal": [goal_round_dict(end) for end in run.goal]} if run.goal else {}
    time = {"time": asdict(timing) | {"note": timing.doubt}} if timing else {}
    sizes = {size.format: size.bytes for size in stored}
    return {
        "plan": json.loads(plan.to_json()),
        "threads": run.threads,
        "computed": computed | ({"stored_bytes": sizes} if sizes else {}),
        "measured": measured,
        **time,
        **goal,
    }


def goal_round_dict(end: GoalRound) -> dict[str, object]:
    """A round of a flow with a goal as JSON values."""
    return {
        "round": end.round,
        "sparsity": end.report.sparsity_masked,
        "remaining": end.remaining,
        "probe": evaluation_dict(end.evaluation),
        "least": end.least,
        "good": end.good,
        "budget_met": end.reached,
    }

"""Carries a run out again, and compares the values."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from pruning_core.compress.goal_costs import COSTS
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.thread_pool import set_kernel_threads
from pruning_core.export.report import evaluations_by_state
from pruning_core.history.history import History
from pruning_core.history.records import machine_facts
from pruning_core.history.run import FINISHED, Run
from pruning_core.history.tensors import START_MASKS, unpack_masks
from pruning_core.pipeline import (
    choose_masks,
    final_test_split,
    probe_split,
    prune,
    pruned_copy,
)
from pruning_core.plan import Plan
from pruning_core.studies import Result, Study, fingerprint, run_events
from pruning_core.studies import Run as StudyRun
from pruning_core.studies.run import seed_workspace
from pruning_core.types import Epoch, Finished, PruningError
from pruning_core.workspaces import Workspace, open_workspace

UNTRAINED = ("plan", "candidate")
TRAINED = ("run", "tune", "flow")


@dataclass(frozen=True)
class Replayed:
    """The last event: the values of each state, then and now, and how the machine differs."""

    then: dict[str, float]
    now: dict[str, float]
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Are all values exactly equal?"""
        return self.then == self.now


def machine_differences(run: Run, now: dict[str, Any]) -> tuple[str, ...]:
    """Where this machine and its versions differ from those of the run, a sentence each."""
    then = dict(run.machine)
    old = then.pop("versions", {})
    new = now["versions"]
    pairs = [(name, then.get(name), now[name]) for name in now if name != "versions"]
    pairs += [(name, old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new))]
    return tuple(f"{name}: {a} then, {b} now" for name, a, b in pairs if a != b)


def replay(
    run: Run, history: History, device: torch.device | None = None
) -> Iterator[Epoch | Replayed]:
    """Opens the run's network and carries the run out again, with its number of threads.

    On the same machine with the same versions, the values are exactly equal. Raises PruningError
    for a run that was not finished, a study or a search as a whole, and where the network or its
    data are other ones now.
    """
    if run.state != FINISHED or run.kind not in (*UNTRAINED, *TRAINED, "study_run"):
        kind = f"is a {run.kind}" if run.state == FINISHED else f"is {run.state}"
        raise PruningError(f"The run {run.id} {kind}: only single finished runs can be replayed.")
    if (threads := run.machine.get("threads")) is not None:
        set_kernel_threads(int(threads))
    plan = run.read_plan()
    space = open_workspace(plan.model, plan.dataset)
    if fingerprint(space) != run.fingerprint:
        raise PruningError(
            f"The weights of {plan.model} or the images of {plan.dataset} are not those of the run "
            f"{run.id}, so it cannot be replayed."
        )
    if (content := history.file(run, START_MASKS)) is not None:
        space = replace(space, start_masks=unpack_masks(content))
    now: dict[str, float] = {}
    for event in _events(run, plan, space, device):
        if isinstance(event, dict):
            now = event
        elif isinstance(event, Epoch):
            yield event
    then = {state: value.value for state, value in run.values.items()}
    yield Replayed(then, now, machine_differences(run, machine_facts(device)))


def _events(
    run: Run, plan: Plan, space: Workspace, device: torch.device | None
) -> Iterator[object]:
    """The events of the run, and last the values by state."""
    if run.kind in UNTRAINED:
        yield _evaluated(plan, space, device)
    elif run.kind in TRAINED:
        for event in prune(plan, space, device, COSTS):
            yield event
            if isinstance(event, Finished):
                yield {state: own.value for state, own in evaluations_by_state(event).items()}
    else:
        yield from _study_run(run, space, device)


def _evaluated(plan: Plan, space: Workspace, device: torch.device | None) -> dict[str, float]:
    judge = Judge.of(space.dataset)
    split = probe_split(plan, space)
    _, masks = choose_masks(plan, space)
    networks = {"dense": space.model, "pruned": pruned_copy(plan, space, masks)}
    return {state: judge.evaluate(own, split, device).value for state, own in networks.items()}


def _study_run(run: Run, space: Workspace, device: torch.device | None) -> Iterator[object]:
    study = Study.from_json(json.dumps(run.settings["study"]))
    part = StudyRun(**run.settings["run"])
    own = seed_workspace(space, study.images, part.seed)
    split = final_test_split(study.plan, space)
    dense = Judge.of(space.dataset).evaluate(space.model, split, device)
    for event in run_events(replace(study, time=False), part, own, dense, device):
        yield event
        if isinstance(event, Result):
            states = {"dense": event.initial, "pruned": event.before, "tuned": event.after}
            yield {state: m.value for state, m in states.items() if m is not None}

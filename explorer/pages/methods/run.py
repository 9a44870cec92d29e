"""A study as the page follows it: what was chosen, as text for the address; progress and estimates.
Knows no Streamlit.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from explorer.session.url import pairs, unpaired
from explorer.texts.formats import count
from pruning_core.criteria import CRITERIA
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.flows import flow
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.pipeline import final_test_split, probe_split, uses_whole_test
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.schedule import schedule
from pruning_core.studies import (
    BASELINES,
    COMPRESSIONS,
    Result,
    Run,
    RunFailed,
    RunFinished,
    RunStarted,
    Study,
    run_study,
    runnable_runs,
)
from pruning_core.types import Epoch, PruningError, Step
from pruning_core.workspace import Workspace

EVERY = 0.5
"""Seconds between two steps that the page hears of."""
BACKWARD = 3
"""A training step costs about so many forward passes."""
OFFERED = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
PARTS = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@dataclass(frozen=True)
class Choices:
    """What the page asks besides the plan. criteria: without the baselines; images: training images
    of a run, 0 = all.
    """

    criteria: tuple[str, ...] = ("taylor", "wanda")
    granularities: tuple[str, ...] = ("fine",)
    compressions: tuple[float, ...] = COMPRESSIONS
    seeds: int = 3
    images: int = 0

    def to_text(self) -> str:
        """For the address; what has its default is left out."""
        default = Choices()
        said = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != getattr(default, each.name):
                said[each.name] = (
                    ",".join(_short(part) for part in value)
                    if isinstance(value, tuple)
                    else str(value)
                )
        return pairs(said)


def _short(part: str | float) -> str:
    return part if isinstance(part, str) else f"{part:g}"


def choices(text: str) -> Choices:
    """The inverse of `to_text`. Raises PruningError for a text that cannot be used."""
    found: dict[str, Any] = {}
    for key, value in unpaired(text).items():
        default = getattr(
            Choices(),
            find(
                {each.name: each for each in fields(Choices)}, key, "setting of a study called"
            ).name,
        )
        parts = [part for part in value.split(",") if part]
        try:
            found[key] = (
                tuple(type(default[0])(part) for part in parts)
                if isinstance(default, tuple)
                else int(value)
            )
        except ValueError as error:
            raise PruningError(
                f"The {key} of the study in the address cannot be '{value[:40]}'."
            ) from error
    chosen = Choices(**found)
    for name in chosen.criteria:
        find(CRITERIA, name, "criterion")
    for name in chosen.granularities:
        granularity(name)
    return chosen


def study_of(plan: Plan, chosen: Choices, space: Workspace) -> Study:
    """The study: what its runs share is the plan's, without what is set by hand. Raises
    PruningError where there can be none.
    """
    probe = Plan().probe if uses_whole_test(space.dataset) else plan.probe
    shared = replace(plan, overrides=(), edits=(), probe=probe)
    images = chosen.images if chosen.images < len(space.dataset.train) else 0
    return Study(
        shared, chosen.criteria, chosen.granularities, chosen.compressions, chosen.seeds, images
    )


def chosen_in(asked: Study) -> Choices:
    """The choices that make this study."""
    others = tuple(name for name in asked.criteria if name not in BASELINES)
    return Choices(others, asked.granularities, asked.compressions, asked.seeds, asked.images)


def study_words(asked: Study) -> str:
    """4 methods × 5 compressions × 3 seeds."""
    shapes = f" × {len(asked.granularities)} shapes" if len(asked.granularities) > 1 else ""
    how_many = f"{len(asked.compressions)} compression{'s' * (len(asked.compressions) > 1)}"
    return f"{len(asked.criteria)} criteria{shapes} × {how_many} × {asked.seeds} seed{'s' * (asked.seeds > 1)}"


def method(criterion: str, shape: str, shapes: int) -> str:
    """What a method is called: its criterion and, where there are several, its granularity."""
    label = CRITERIA[criterion].label
    return label if shapes == 1 else f"{label}, {granularity(shape).label}"


def study_events(asked: Study, space: Workspace) -> Iterator[object]:
    """`studies.run_study` for the page: all but epochs and most of the steps."""
    last = 0.0
    for event in run_study(asked, space):
        if isinstance(event, Step):
            if time.monotonic() - last < EVERY:
                continue
            last = time.monotonic()
        if not isinstance(event, Epoch):
            yield event


@dataclass(frozen=True)
class Where:
    """share: of all runs, in [0, 1]; left: seconds, estimated, None before a run is measured;
    failed: sentences by their runs.
    """

    share: float
    left: float | None
    stage: str
    done: int
    total: int
    failed: dict[str, int]


def where(events: Sequence[object], asked: Study) -> Where:
    """How far the study is."""
    over = [event for event in events if isinstance(event, RunFinished | RunFailed)]
    failed: dict[str, int] = {}
    for event in over:
        if isinstance(event, RunFailed):
            failed[event.reason] = failed.get(event.reason, 0) + 1
    begun = next((event for event in reversed(events) if isinstance(event, RunStarted)), None)
    total = over[-1].total if over else begun.total if begun else 0
    paces = [
        event.result.seconds
        for event in over
        if isinstance(event, RunFinished) and not event.from_disk
    ]
    running = begun is not None and (not over or begun.number > over[-1].number)
    inside = _inside(events, asked) if running else 0.0
    left = sum(paces) / len(paces) * (total - len(over) - inside) if paces else None
    stage = run_words(begun.run) if begun and running else "looking for finished runs"
    return Where((len(over) + inside) / max(1, total), left, stage, len(over), total, failed)


def _inside(events: Sequence[object], asked: Study) -> float:
    """The share of the present run that is behind, by its last step heard of; a flow of several
    trainings is told as one.
    """
    last = events[-1]
    epochs = asked.plan.fine_tune.epochs
    return (
        min(0.9, (last.epoch - 1 + last.step / last.steps) / max(1, epochs))
        if isinstance(last, Step)
        else 0.0
    )


def run_words(run: Run) -> str:
    """Taylor, Fine-grained, 8×, seed 0."""
    return f"{method(run.criterion, run.granularity, 2)}, {run.compression:g}×, seed {run.seed}"


def pace(plan: Plan, space: Workspace) -> float:
    """Seconds that one image takes, forward only, measured now on a few probe images."""
    split = probe_split(plan, space)
    few = split.subset(range(min(len(split), 256 if uses_whole_test(space.dataset) else 8)))
    for _ in range(2):  # the first pass also makes ready what later ones find
        began = time.perf_counter()
        evaluate(space.model, few, outputs=space.dataset.outputs)
    return (time.perf_counter() - began) / len(few)


def estimate(asked: Study, space: Workspace, per_image: float, found: Sequence[Result]) -> float:
    """Seconds for the runs that are not measured yet: as long as the others took, else by the
    images that pass through.

    A run sees its training images once per epoch and training, forward and backward; the validation
    images each epoch; the test images twice; its calibration images about twice.
    """
    missing = len(runnable_runs(asked, space)) - len(found)
    if found:
        return missing * sum(each.seconds for each in found) / len(found)
    plan = asked.plan
    data = space.dataset
    each, besides = flow(plan.flow).trainings
    epochs = plan.fine_tune.epochs * (each * schedule(plan.schedule).rounds + besides)
    train = asked.images or len(data.train)
    images = (
        epochs * (BACKWARD * train + len(data.val))
        + 2 * len(final_test_split(plan, space))
        + 2 * BACKWARD * plan.calibration
    )
    return missing * images * per_image


def offered_parts(images: int) -> tuple[int, ...]:
    """Sizes of a training part that are smaller than all images; 0 = all."""
    return (0, *(size for size in PARTS if size < images))


def part_words(size: int) -> str:
    """10000 -> 10 k; 0 -> all."""
    return count(size) if size else "all"


SHAPES = tuple(GRANULARITIES)
OTHERS = tuple(name for name in CRITERIA if name not in BASELINES)

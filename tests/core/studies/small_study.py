"""A study that takes seconds, for the tests of this folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pruning_core.plan import Plan
from pruning_core.studies import Result, RunFinished, Study
from pruning_core.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[3]
TUNE = TrainConfig(epochs=1, batch_size=128)
SMALL = Study(Plan(model="lenet5", fine_tune=TUNE), compressions=(2.0, 8.0), seeds=2, images=256)


def finished_events(events: Sequence[object]) -> list[RunFinished]:
    return [event for event in events if isinstance(event, RunFinished)]


def same(one: Result, other: Result) -> bool:
    """Are both equal, except for the time that they took?"""
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)

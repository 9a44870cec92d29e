"""Progress of a study, and estimates of its time."""

import pytest

from explorer.pages.methods.choices import Choices, study_of
from explorer.pages.methods.run import estimated_seconds, seconds_per_image, study_progress
from pruning_core.plan import Plan
from pruning_core.studies import Measurement, Result, Run, RunFailed, RunFinished, RunStarted
from pruning_core.training.config import TrainConfig
from pruning_core.types import Step
from pruning_core.workspaces import Workspace, open_workspace

PLAN = Plan(model="lenet5", fine_tune=TrainConfig(epochs=1, batch_size=128))
CHOSEN = Choices(("wanda",), compressions=(2.0, 8.0), seeds=2, images=500)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def result(run: Run, seconds: float = 2.0) -> Result:
    accuracy = Measurement(100, 0.5, 0.4, 0.6, None)
    return Result(run, accuracy, accuracy, accuracy, 1, 10, 100, 50, 1000, 500, None, None, seconds)


def test_progress_counts_runs_and_a_share_of_the_present_one(space: Workspace) -> None:
    asked = study_of(PLAN, CHOSEN, space)
    events: list[object] = [
        RunFinished(1, 4, result(asked.runs[0]), True),
        RunFinished(2, 4, result(asked.runs[1]), False),
    ]
    now = study_progress([*events, RunStarted(3, 4, asked.runs[2]), Step(1, 5, 10, 0.1)], asked)
    assert (now.share, now.left, now.done, now.total) == (2.5 / 4, pytest.approx(2.0 * 1.5), 2, 4)
    assert "seed 0" in now.stage
    failed = [RunFailed(3, 4, asked.runs[2], "No."), RunFailed(4, 4, asked.runs[3], "No.")]
    assert study_progress([*events, *failed], asked).failed == {"No.": 2}
    assert study_progress([], asked).share == 0.0


def test_the_estimate_uses_images_then_measured_seconds(space: Workspace) -> None:
    asked = study_of(PLAN, CHOSEN, space)
    data = space.dataset
    images = 3 * 500 + len(data.val) + 2 * len(data.test) + 6 * 256
    assert estimated_seconds(asked, space, 0.01, ()) == pytest.approx(12 * images * 0.01)
    assert estimated_seconds(
        asked, space, 0.01, (result(asked.runs[0], 3.0), result(asked.runs[1], 5.0))
    ) == pytest.approx(10 * 4.0)
    assert seconds_per_image(PLAN, space) > 0

"""The choices of a study: as text, as a study, and back."""

from dataclasses import replace

import pytest

from explorer.pages.methods.choices import Choices, choices, choices_of, study_of, study_words
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, open_workspace

PLAN = Plan(model="lenet5", fine_tune=TrainConfig(epochs=1, batch_size=128))
CHOSEN = Choices(("wanda",), compressions=(2.0, 8.0), seeds=2, images=500, time=True)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def test_choices_text_and_study_convert_into_each_other(space: Workspace) -> None:
    assert choices("") == Choices()
    assert CHOSEN.to_text().endswith("~time~1")
    assert choices(CHOSEN.to_text()) == CHOSEN
    assert choices_of(study_of(PLAN, CHOSEN, space)) == CHOSEN
    assert study_of(
        replace(PLAN, overrides=(("conv1.weight", 0.5),), probe=64), CHOSEN, space
    ) == study_of(PLAN, CHOSEN, space)
    assert study_of(PLAN, replace(CHOSEN, images=10**6), space).images == 0
    with pytest.raises(PruningError, match="mean 'snip'"):
        choices("criteria~snap")


def test_a_study_in_words(space: Workspace) -> None:
    assert study_words(study_of(PLAN, CHOSEN, space)) == "3 criteria × 2 compressions × 2 seeds"
    several = Choices(("wanda",), ("fine", "filter"), (2.0,), seeds=1)
    words = "3 criteria × 2 granularities × 1 compression × 1 seed"
    assert study_words(study_of(PLAN, several, space)) == words

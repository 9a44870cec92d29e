"""Layers that hold each channel in several outputs, as grouped convolutions, lose it as a whole."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core import Plan, Workspace, choose_masks, counts, thin, workspace
from pruning_core.hand_edits import HandEdits
from pruning_core.model.coupling.dependent_masks import removed_channels, removed_rows
from pruning_core.pipeline import tied_note
from pruning_core.search import TOLERANCE, Candidate
from pruning_core.search.run import SearchSettings, search
from pruning_core.tied_layers import (
    edits_of_channels,
    has_several_outputs,
    same_channels,
    tied_scores,
    unequal_couplings,
)
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.toy import is_sentence

TIED = Plan(granularity="filter", tied=True, probe=10, criterion="magnitude_l2")


class Groups(nn.Module):
    """A residual block with few wide groups (ResNeXt), then many narrow ones, and split halves."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3)
        self.one = nn.Conv2d(8, 12, 1)
        self.two = nn.Conv2d(12, 12, 3, padding=1, groups=2)
        self.three = nn.Conv2d(12, 8, 1)
        self.narrow = nn.Conv2d(8, 16, 3, groups=4)
        self.halves = nn.Conv2d(16, 10, 1)
        self.out = nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.three(self.two(self.one(x).relu()).relu())).relu()
        one, other = self.halves(self.narrow(x).relu()).chunk(2, 1)
        made: Tensor = self.out((one * other.sigmoid()).mean((2, 3)))
        return made


@pytest.fixture(scope="module")
def space() -> Workspace:
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 10
    return workspace(seeded(Groups), train=(x, y), test=(x, y), name="groups")


def test_a_tied_plan_removes_whole_channels_and_is_as_small_as_counted(space: Workspace) -> None:
    ties = same_channels(space.tied[0])
    outputs = [
        sorted(len(place.positions) // own.channels for place in own.members) for own in ties
    ]
    assert outputs == [[2, 2, 4], [2], [2], [2]]
    for allocation in ("uniform", "global"):
        for sparsity in (0.3, 0.5, 0.8):
            plan = Plan(**{**vars(TIED), "allocation": allocation, "sparsity": sparsity})
            ratios, masks = choose_masks(plan, space)
            rows = removed_rows(masks)
            for own in ties:
                whole = removed_channels(own, rows)
                for place in own.members:
                    lost = rows[place.parameter][place.positions]
                    assert torch.equal(lost, whole[place.channels])
                    assert ratios[place.parameter] == int(whole.sum()) / own.channels
            made = thin(plan, space, masks)
            report = counts(plan, space, masks)
            assert (made.refused, made.notes) == ((), ())
            assert made.macs[1] == report.thinned_macs
            assert made.parameters[1] == report.thinned_nonzeros


def test_equal_scores_remove_the_same_channels_in_every_layer(space: Workspace) -> None:
    ties = same_channels(space.tied[0])
    equal = {layer.name: torch.ones(1, layer.shape[0]) for layer in space.layers}
    made = tied_scores(equal, ties)
    for own in filter(has_several_outputs, ties):
        for place in own.members:
            scores = torch.full((own.channels,), torch.nan)
            scores[place.channels] = made[place.parameter][0, place.positions]
            assert scores.tolist() == sorted(set(scores.tolist()))


def test_an_edit_of_one_output_is_one_of_its_channel_in_all_layers(space: Workspace) -> None:
    (own, *_) = same_channels(space.tied[0])
    assert own.layers == ("stem.weight", "three.weight", "narrow.weight")
    wanted = {place.parameter: place.positions[place.channels == 1] for place in own.members}
    edits = edits_of_channels([(0, 3, False)], "stem.weight", "narrow.weight", (own,))
    assert sorted(row for _, row, _ in edits) == wanted["narrow.weight"].tolist()
    edit = HandEdits("stem.weight", "filter", ((0, 3, False),))
    plan = Plan(**{**vars(TIED), "sparsity": 0.0, "edits": (edit,)})
    rows = removed_rows(choose_masks(plan, space)[1])
    assert {name: rows[name].nonzero().flatten().tolist() for name in wanted} == {
        name: positions.tolist() for name, positions in wanted.items()
    }


def test_a_search_meets_its_budget_in_the_thinned_network(space: Workspace, tmp_path: Path) -> None:
    plan = Plan(granularity="filter", probe=10)
    settings = SearchSettings("random", "macs", 0.5, evaluations=3, repair="none")
    for event in search(plan, space, settings, tmp_path):
        if isinstance(event, Candidate):
            given = Plan(**{**vars(TIED), "criterion": plan.criterion})
            chosen = Plan(**{**vars(given), "overrides": tuple(event.ratios.items())})
            made = thin(chosen, space)
            assert made.macs[1] / made.macs[0] == pytest.approx(event.cost)
            assert 0.35 < event.cost <= 0.5 + TOLERANCE


class Parts(nn.Module):
    """Some channels are gated by others, and some are not."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 13)
        self.b = nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        gated, gate, plain = self.a(x).split([4, 4, 5], -1)
        made: Tensor = self.b(torch.cat([gated * functional.gelu(gate), plain], -1))
        return made


def test_channels_with_more_outputs_than_others_are_left_alone() -> None:
    x = torch.rand(20, 4)
    y = torch.arange(20) % 2
    space = workspace(seeded(Parts), train=(x, y), test=(x, y))
    assert [own.layers for own in unequal_couplings(space.tied[0])] == [("a.weight",)]
    assert same_channels(space.tied[0]) == ()
    note = tied_note(TIED, space)
    assert is_sentence(note or "")
    assert "of a.weight that belong together" in (note or "")
    assert tied_note(Plan(granularity="filter", probe=10), space) is None

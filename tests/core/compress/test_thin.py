"""Thinned networks give the masked networks' outputs; what cannot be narrower has a sentence."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pruning_core import (
    Plan,
    PruningError,
    TrainConfig,
    Workspace,
    choose_masks,
    counts,
    inventory,
    masked_copy,
    scan_plan,
    thin,
    workspace,
)
from pruning_core.compress.narrow import narrow
from pruning_core.compress.thin_network import Narrowed, narrowed, outputs, relative_error
from pruning_core.compress.thin_parts import removable_parts
from pruning_core.evaluation.metrics import measure
from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import (
    dead_inputs,
    dependent_masks,
    kept_outputs,
    removed_channels,
    removed_rows,
)
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.kept_norms import with_kept_norms
from pruning_core.search.channel_counts import ChannelCounts
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Layer, Report, Tuned
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.model.coupling.networks import NETWORKS, head
from tests.core.model.coupling.test_foreign import IMAGE, known_of, of, random_masks
from tests.core.model.coupling.test_trace import traced
from tests.core.toy import is_sentence

KEEPS_WIDTH = {
    "one channel, expanded",
    "channel shuffle",
    "roll",
    "res2net",
    "group norm",
    "RMS norm",
    "blur of each channel",
}
"""Networks whose own code fixes the number of channels of a layer, or averages over them."""


def thinned(
    model: nn.Module, layers: tuple[Layer, ...], known: tuple[Coupling, ...], x: Tensor
) -> tuple[Narrowed, Report]:
    """The network without random channels, thinned, and the counts of its masks."""
    model = with_kept_norms(model, x[:1])
    masks = random_masks(layers, known, 3)
    dependent = dependent_masks(model, layers, masks, known)
    masked = apply_masks(model, masks, layers, dependent)
    made = narrowed(masked, layers, known, removable_parts(masked, layers, masks, known), x)
    assert relative_error(outputs(made.module, 2 * x), outputs(masked, 2 * x)) <= 1e-5
    dead = dead_inputs(model, layers, masks, known)
    report = measure(model, layers, masks, dependent, dead)
    kept = kept_outputs(layers, removed_rows(masks), known)
    return made, replace(report, thinned_outputs=kept)


def size(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Nonzero parameters and multiply-adds, counted on the network itself."""
    macs = sum(layer.macs for layer in inventory(model, x[:1]))
    return sum(int((p != 0).sum()) for p in model.parameters()), macs


def whole_size(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """As `size`, of all parameters."""
    return sum(p.numel() for p in model.parameters()), size(model, x)[1]


def by_numbers_of_channels(
    model: nn.Module, layers: tuple[Layer, ...], known: tuple[Coupling, ...]
) -> tuple[int, int] | None:
    """The size after `thinned`, as a search counts it; None where it must count masks."""
    lost = removed_rows(random_masks(layers, known, 3))
    removed = [0 if own.reason else int(removed_channels(own, lost).sum()) for own in known]
    try:
        now = ChannelCounts(model, layers, known).thinned(removed)
    except ValueError:
        return None
    return now.parameters, now.macs


def test_kinds_of_networks_equal_the_masked_ones_or_say_what_stays_wide() -> None:
    wrong = {}
    countable = 0
    for name in NETWORKS:
        made, report = thinned(*of(name), IMAGE)
        counted = size(made.module, IMAGE)
        agrees = counted == (report.thinned_nonzeros, report.thinned_macs)
        if name in KEEPS_WIDTH:
            right = all(is_sentence(text) and " as before: " in text for text in made.refused)
            right = right and bool(made.refused) and bool(made.parts)
        else:
            fast = by_numbers_of_channels(*of(name))
            right = made.refused == () and agrees and fast in (None, whole_size(made.module, IMAGE))
            countable += fast is not None
        if not right:
            wrong[name] = (made.refused, counted, report.thinned_nonzeros, report.thinned_macs)
    assert not wrong
    assert countable > len(NETWORKS) / 2


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_both_sizes_of_an_lstm_with_a_projection_become_smaller() -> None:
    lstm = nn.LSTM(8, 10, batch_first=True, proj_size=8)
    known = known_of(
        head(lambda n, x: n.r(n.a(x).flatten(2).mT)[0].mT.unflatten(2, (6, 6)), r=lstm)
    )
    made, _ = thinned(*known, IMAGE)
    narrow = made.module.get_submodule("r")
    assert made.refused == ()
    assert isinstance(narrow, nn.LSTM)
    assert (narrow.hidden_size < 10, narrow.proj_size < 8) == (True, True)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_zoos_networks_equal_the_masked_ones_with_the_computed_size(name: str) -> None:
    model, layers, known, shape = traced(name)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
    kept = with_kept_norms(model, x[:1])
    made, report = thinned(kept, layers, couplings(kept, layers, x), x)
    assert made.refused == ()
    assert made.error <= 1e-5
    stated = json.loads(json.dumps([made.kept, made.settings, made.attentions]))
    built = narrow(deepcopy(model), *stated)
    built.load_state_dict(made.module.state_dict())
    assert relative_error(outputs(built, x), outputs(made.module, x)) == 0
    assert size(made.module, x) == (report.thinned_nonzeros, report.thinned_macs)
    assert size(made.module, x)[1] < 0.6 * report.macs
    assert by_numbers_of_channels(model, layers, known) in (None, whole_size(made.module, x))
    narrower = inventory(made.module, x[:1])
    assert report.thinned_outputs == {
        layer.name: layer.shape[0] for layer in narrower if layer.heads < 2
    }


@pytest.fixture(scope="module")
def space() -> Workspace:
    """A convolutional network with memorised digits of noise."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 16, 4),
        )

    model = seeded(build)
    nn.init.uniform_(model.get_parameter("1.bias"), 0.5, 1.0)  # a count leaves zeros out
    return workspace(model, train=DATA, val=DATA, test=DATA)


DATA = (torch.randn(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 4)
PLAN = Plan(
    model="",
    dataset="",
    granularity="filter",
    criterion="magnitude_l1",
    allocation="uniform",
    sparsity=0.4,
)


def test_rounding_keeps_more_channels_and_never_removes_one(space: Workspace) -> None:
    plain = thin(PLAN, space)
    rounded = thin(PLAN, space, round_to=8)
    assert [width.out for width in plain.widths] == [(24, 14), (16, 10), (4, 4)]
    assert [width.out for width in rounded.widths] == [(24, 16), (16, 16), (4, 4)]
    assert [width.into for width in rounded.widths] == [(1, 1), (24, 16), (256, 256)]
    for name, mask in plain.masks.items():
        assert bool((rounded.masks[name] >= mask).all())
    assert plain.macs[1] < rounded.macs[1] < rounded.macs[0]
    assert plain.parameters[1] < rounded.parameters[1] < rounded.parameters[0]
    report = counts(PLAN, space, rounded.masks)
    assert rounded.macs == (report.macs, report.thinned_macs)
    assert rounded.parameters == (report.parameters, report.thinned_nonzeros)
    with pytest.raises(PruningError, match="multiples of 1: give 8 or 16"):
        thin(PLAN, space, round_to=1)


def test_a_removed_input_channel_removes_the_filter_that_computes_it(space: Workspace) -> None:
    made = thin(replace(PLAN, granularity="channel"), space)
    assert [width.out for width in made.widths[:1]] == [(24, 14)]
    assert made.widths[1].into == (24, 14)


class Contracted(nn.Module):
    """Reads a weight by einsum, which multiplies without a product where it has one input."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)
        self.b = nn.Linear(3, 5)
        self.c = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.einsum("nti,oi->nto", self.a(x), self.b.weight) + self.b.bias
        out: Tensor = self.c(hidden.relu().mean(1))
        return out


def test_a_layer_of_one_input_that_shows_no_product_has_its_width() -> None:
    x = torch.rand(20, 6, 4)
    y = torch.arange(20) % 2
    space = workspace(seeded(Contracted), train=(x, y), test=(x, y))
    keep = torch.ones(3, 4, dtype=torch.bool)
    keep[1:] = False
    made = thin(Plan(granularity="filter", probe=10), space, {"a.weight": keep})
    assert [(own.out, own.into) for own in made.widths] == [
        ((3, 1), (4, 4)),
        ((5, 5), (3, 1)),
        ((2, 2), (5, 5)),
    ]
    assert made.macs == (6 * (3 * 4 + 5 * 3) + 10, 6 * (1 * 4 + 5 * 1) + 10)


def test_masks_without_whole_channels_are_one_sentence(space: Workspace) -> None:
    with pytest.raises(PruningError, match="remove no whole channel and no whole head"):
        thin(replace(PLAN, granularity="fine"), space)
    sums = workspace(
        NETWORKS["addition"][0](), train=(IMAGE.repeat(4, 1, 1, 1), torch.arange(8) % 2)
    )
    masks = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in sums.layers}
    masks["a.weight"][0] = False
    with pytest.raises(PruningError, match="Tied layers must lose the same channels"):
        thin(PLAN, sums, masks)


def test_a_thinned_network_trains_and_is_a_network_of_its_own(space: Workspace) -> None:
    made = thin(PLAN, space)
    again = workspace(made.module, train=DATA, val=DATA, test=DATA)
    assert [layer.shape[0] for layer in again.layers] == [14, 10, 4]
    config = TrainConfig(epochs=1, batch_size=8)
    *_, tuned = fine_tune(again.model, {}, again.layers, again.dataset, config)
    assert isinstance(tuned, Tuned)
    scanned = list(scan_plan(PLAN, again, [0.5]))
    assert scanned
    _, masks = choose_masks(PLAN, again)
    trained = masked_copy(PLAN, again, masks, tuned.model)
    twice = thin(PLAN, again, masks, trained)
    assert twice.widths[0].out == (14, 8)
    assert relative_error(outputs(twice.module, DATA[0]), outputs(trained, DATA[0])) <= 1e-5

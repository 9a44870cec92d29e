"""Batches computed node by node, in the calling thread or on threads with the same bits."""

import threading
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.forward import (
    LARGE_BATCH,
    CheckedThreads,
    Forward,
    all_equal,
    held_bytes,
)
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.evaluation.thread_pool import InlineExecutor, worker_pool
from pruning_core.model.graph import Program, program
from pruning_core.model.inventory import inventory
from tests.core.evaluation.test_partial_forward import BATCH, CPU, chain, full, masks, split
from tests.core.toy import refusal

SHAPE = (2, 6, 6)


def forward(model: nn.Module | None = None) -> Forward:
    return Forward(model or chain(), split(SHAPE), device=CPU, batch_size=BATCH)


def pictures(passes: Forward, batch: int) -> Tensor:
    images = passes.images(batch)
    assert isinstance(images, Tensor)
    return images


def test_batches_are_those_of_the_split() -> None:
    passes = forward()
    assert [passes.count(batch) for batch in passes.batches] == [8, 8, 3]
    assert torch.equal(
        torch.cat([pictures(passes, batch) for batch in passes.batches]), split(SHAPE).x
    )
    assert "no images" in refusal(lambda: Forward(chain(), split(SHAPE, 0), device=CPU))


def test_a_replacement_is_for_one_run_only() -> None:
    model = chain()
    passes = forward(model)
    whole = full(model, split(SHAPE, BATCH))
    halved = model.state_dict()["4.weight"] / 2
    nodes = passes.program
    stages = nodes.stages([node for node in nodes.nodes if node is not nodes.x], {nodes.result})
    for change, wanted in (({"4.weight": halved}, None), ({}, whole)):
        logits = passes.run(stages, nodes.start(passes.images(0)), change, {nodes.result})[
            nodes.result
        ]
        assert torch.equal(logits, whole) is (wanted is not None)


class Misread(nn.Module):
    """Writes over its own value by a method without another form: its trace cannot be computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 72))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(1), self.weight).zero_()


def test_a_trace_that_cannot_be_computed_is_not_used() -> None:
    traced = program(Misread().eval(), torch.ones(1, *SHAPE))
    assert "its trace cannot be computed, at zero_: " in str(traced.reason)
    assert forward(Misread().eval()).reason == traced.reason


def test_an_error_in_the_check_is_not_taken_for_a_trace_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Program, "stages", lambda *_: dict[str, object]()["no such key"])
    with pytest.raises(KeyError, match="no such key"):
        program(chain(), torch.zeros(1, *SHAPE))


def test_views_of_one_storage_count_once() -> None:
    traced = program(chain(), torch.zeros(1, *SHAPE))
    x = torch.zeros(10)
    assert (
        held_bytes(dict(zip(traced.nodes, (x, x[2:], (x, None), torch.ones(1)), strict=False)))
        == 44
    )
    node = traced.x
    other = traced.result
    assert all_equal(
        {node: torch.ones(2), other: (1, None)}, {node: torch.ones(2), other: (1, None)}
    )
    assert not all_equal({node: torch.ones(2)}, {node: torch.tensor([1, 1.0000001])})


def test_large_batches_have_one_worker() -> None:
    torch.set_num_threads(2)
    try:
        assert forward().workers == 2
        side = (LARGE_BATCH // 4 // 2) ** 0.5 // 1 + 1
        wide = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert Forward(wide, split((2, int(side), int(side)), 1), device=CPU).workers == 1
    finally:
        torch.set_num_threads(1)


class Whole(nn.Module):
    """Cannot be traced, calls no module, and notes which thread computes.

    In other threads than its maker's, the output is 1 + drift times as large.
    """

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.fc = nn.Linear(64, 3)
        self.drift = drift
        self.maker = threading.get_ident()
        self.seen = list[bool]()

    def forward(self, x: Tensor) -> Tensor:
        if x.sum().isnan():
            return x
        self.seen.append(threading.get_ident() == self.maker)
        y = nn.Linear.forward(self.fc, nn.Conv2d.forward(self.conv, x).flatten(1))
        return y * (1 if self.seen[-1] else 1 + self.drift)

    def __deepcopy__(self, memo: dict[int, object]) -> "Whole":
        copy = Whole(self.drift)
        copy.seen = self.seen
        copy.maker = self.maker
        for name, module in self.named_children():
            setattr(copy, name, deepcopy(module, memo))
        return copy.eval()


def test_other_threads_are_not_used_where_their_bits_differ() -> None:
    """A kernel that splits a sum over its threads gives other bits."""
    model = Whole(drift=2**-20).eval()
    images = split(SHAPE)
    layers = inventory(model, SHAPE)
    results = []
    for workers in (1, 2):
        model.seen.clear()
        replay = PartialForward(model, images, device=CPU, batch_size=BATCH, workers=workers)
        results.append([logits for _, _, logits in replay.run(layers, masks)])
        assert model.seen.count(False) == workers - 1
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("inline", [True, False])
def test_nodes_are_compared_once_per_number_of_images(inline: bool) -> None:
    model = Whole().eval()
    passes = forward(model)
    wanted = {passes.program.result}
    stages = passes.program.stages([passes.program.result], wanted)
    model.seen.clear()
    with worker_pool(2) as threads:
        team = CheckedThreads(passes, InlineExecutor() if inline else threads)
        for batch in (0, 1, 2, 2):
            team.submit(
                batch, stages, passes.program.start(passes.images(batch)), {}, wanted
            ).result()
    assert model.seen == ([True] * 4 if inline else [True, False, False, True, False, False])

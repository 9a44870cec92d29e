"""Times of a small network in every runtime: what is reported, left out, and chosen."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import nn

from pruning_core.compress import advisor, runtimes
from pruning_core.compress.advisor import Advice, LayerAdvice, advise
from pruning_core.compress.forms import FORMS, Forms, forms_of
from pruning_core.compress.int8_blocks import ENGINE
from pruning_core.compress.latency import (
    Latency,
    Measuring,
    Times,
    conclusion,
    latency_dict,
    time_forms,
    verdict_words,
)
from pruning_core.compress.paired_times import Compared, Timing, Variant
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import batch_of, open_workspace

X = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

OPENVINO = runtimes.RUNTIMES["openvino"]
INT8 = ["int8"] if ENGINE in torch.backends.quantized.supported_engines else []


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """A dense network, and the same with zeros."""
    made = []
    for zeros in (0.0, 0.9):
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
        with torch.no_grad():
            for seed, p in enumerate(model.parameters()):
                own = torch.Generator().manual_seed(seed)
                p.copy_(torch.randn(p.shape, generator=own))
                p.mul_(torch.rand(p.shape, generator=own) >= zeros)
        made.append(model)
    return made[0], made[1]


def timing(name: str, speedup: float = 1.0, width: float = 0.0, halves: float = 0.0) -> Timing:
    ends = (speedup - width, speedup + width)
    one = 1 / speedup
    return Timing(name, name, one, (one, one), 1.0, speedup, ends, halves, 31, 1)


def test_each_form_is_timed_in_each_runtime_and_what_is_missing_is_named() -> None:
    dense, masked = networks()
    with patch.dict(runtimes.RUNTIMES, openvino=replace(OPENVINO, packages=("not_there",))):
        chosen = ("eager", "export", "openvino")
        *events, latency = time_forms(
            dense, masked, {2: X}, Forms(FORMS), chosen, rounds=7, budget=0.01
        )
    assert isinstance(latency, Latency)
    shares = [event.share for event in events if isinstance(event, Measuring)]
    assert shares == sorted(shares)
    assert {own.runtime: [t.variant for t in own.timings] for own in latency.times} == {
        "eager": ["dense", "masked", "csr", "bsr16", *INT8],
        "export": ["dense", "masked"],
    }
    assert latency.times[0].errors["csr"] < 1e-5
    assert latency.left_out[-1] == "OpenVINO is not measured: install not_there."
    record = latency_dict(latency)
    assert record["busy"] == latency.busy


def test_a_busy_machine_is_named() -> None:
    dense, masked = networks()
    *_, latency = time_forms(dense, masked, {2: X}, Forms({}), ())
    assert isinstance(latency, Latency)
    quiet = replace(latency, machine=replace(latency.machine, load=1.0, cores=2))
    assert quiet.busy is None
    loaded = replace(quiet, machine=replace(quiet.machine, load=2.5))
    assert loaded.busy is not None
    assert "2.5 processes" in loaded.busy
    split = replace(quiet, times=(Times("eager", 1, (timing("dense", halves=0.2),), {}),))
    assert split.busy is not None
    assert "differ by 20%" in split.busy


def test_verdicts_say_slower_and_that_zeros_save_no_time() -> None:
    assert verdict_words(timing("thin", 2.0, 0.1)).startswith("faster than dense: 2.00x [1.90")
    assert verdict_words(timing("thin", 2.0, halves=0.06)).startswith(
        "too busy to decide, halves d"
    )
    assert verdict_words(timing("csr", 0.5, 0.1)).startswith("slower than dense")
    assert verdict_words(timing("masked", 1.0, 0.03)).startswith("the zeros save no time, within")
    assert verdict_words(timing("int8", 1.0, 0.03), 0.02).endswith("differ by 2.0%.")


@pytest.mark.parametrize(("whole", "chosen"), [(1.5, "mixed"), (0.9, "dense")])
def test_a_format_is_used_only_where_it_is_faster_end_to_end(whole: float, chosen: str) -> None:
    dense, masked = networks()

    def compare(reference: Variant, variants: list[Variant], **_: object) -> Compared:
        speedups = {"csr": 3.0, "bsr16": 2.0, "mixed": whole, "masked": 1.0}
        return Compared(
            (timing(reference.name), *(timing(v.name, speedups[v.name]) for v in variants))
        )

    with patch.object(advisor, "compare", compare):
        *layers, advice = advise(dense, masked, X)
    assert isinstance(advice, Advice)
    assert [layer.chosen for layer in layers if isinstance(layer, LayerAdvice)] == ["csr", "csr"]
    assert advice.chosen == chosen
    assert (advice.why is None) == (chosen == "mixed")
    assert advice.speedup == (whole if chosen == "mixed" else 1.0)
    with torch.inference_mode():
        assert torch.allclose(advice.model(X), masked(X), atol=1e-5)


def test_thinned_forms_compute_the_masked_network_and_are_timed_beside_it() -> None:
    plan = Plan(model="lenet5", dataset="digits", granularity="filter", sparsity=0.8)
    space = open_workspace(plan.model, plan.dataset)
    _, masks = choose_masks(plan, space)
    made = forms_of(plan, space, masks, (8, 400))
    assert list(made.forms) == ["masked", "thin", "thin8", "csr", "bsr16", "int8"]
    widths = [width.out[1] for width in made.thinned["thin8"].widths]
    assert widths == [6, 8, 24, 24, 10]
    assert len(made.notes) == 2
    assert made.left_out[0].startswith("Thinned, 400s: Nothing can be made narrower")
    masked = masked_copy(plan, space, masks)
    dense = space.model
    batches = {4: batch_of(space, 4)}
    *_, latency = time_forms(dense, masked, batches, made, ("eager",), rounds=7, budget=0.01)
    assert isinstance(latency, Latency)
    assert latency.notes == made.notes
    (own,) = latency.times
    assert [t.variant for t in own.timings[:4]] == ["dense", "masked", "thin", "thin8"]
    assert own.errors["thin"] < 1e-5
    assert own.errors["thin8"] == 0
    fine = replace(plan, granularity="fine", sparsity=0.9)
    assert forms_of(fine, space, choose_masks(fine, space)[1], (8,)).thinned == {}


def test_the_conclusion_names_what_is_faster_and_what_is_slower() -> None:
    dense, masked = networks()
    *_, empty = time_forms(dense, masked, {2: X}, Forms({}), ())
    assert isinstance(empty, Latency)
    quiet = replace(empty, machine=replace(empty.machine, load=0.0))
    timings = (timing("dense"), timing("thin", 2.0, 0.1), timing("csr", 0.5, 0.1))
    both = replace(quiet, times=(Times("eager", 1, timings, {}),))
    assert conclusion(both) == (
        "Faster than dense: thin (PyTorch, batch 1: 2.00x). "
        "Pruning made it slower than dense: csr (PyTorch, batch 1: 0.50x)."
    )
    assert "pruning saves no time" in conclusion(quiet)
    assert conclusion(replace(both, machine=replace(quiet.machine, load=99.0))) == ""


def test_a_network_that_does_not_run_in_a_runtime_is_left_out() -> None:
    dense, masked = networks()
    wrong = torch.ones(2, 3)
    *_, latency = time_forms(dense, masked, {2: wrong}, Forms(FORMS), ("eager",))
    assert isinstance(latency, Latency)
    assert latency.times == ()
    assert latency.left_out[0].startswith("PyTorch with this network failed")


def test_a_batch_that_the_data_does_not_have_is_refused() -> None:
    space = open_workspace("lenet5", "digits")
    for size in (0, 100_000):
        with pytest.raises(PruningError, match=f"batch of {size}"):
            batch_of(space, size)

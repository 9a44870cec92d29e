"""Masks of other types and shapes mean the same at every entry, or are refused in one sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.metrics import measure
from pruning_core.export import masks_by_parameter
from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks
from pruning_core.model.inventory import inventory
from pruning_core.model.mask_forms import checked_masks, checked_parameter_masks
from pruning_core.pipeline import counts
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, PruningError, Tuned
from pruning_core.workspaces import Workspace
from pruning_core.zoo import load_data
from tests.cases import check_each, for_each

NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
LAYERS = inventory(NET, (1, 8, 8))
KEEP = torch.zeros(10, 64, 1, 1, dtype=torch.bool)
KEEP[:, 20] = True
"""Keeps what reads pixel 20."""

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "booleans in OIHW": lambda m: m,
    "the parameter's own shape": lambda m: m.view(10, 64),
    "uint8": lambda m: m.to(torch.uint8),
    "int32 in its own shape": lambda m: m.view(10, 64).int(),
    "float32": lambda m: m.float(),
    "float16": lambda m: m.half(),
    "float64 with a gradient": lambda m: m.double().requires_grad_(),
    "uint16": lambda m: m.to(torch.uint16),
    "float8": lambda m: m.float().to(torch.float8_e4m3fn),
    "NumPy": lambda m: m.numpy().astype(np.int64),
    "NumPy, other order of bytes": lambda m: m.numpy().astype(">f4"),
    "NumPy, read backwards": lambda m: m.numpy()[::-1].copy()[::-1],
    "NumPy, long numbers": lambda m: m.numpy().astype(np.longdouble),
    "NumPy, uint16": lambda m: m.numpy().astype(np.uint16),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "transposed": (KEEP.transpose(0, 1), "(64, 10, 1, 1); its layer needs (10, 64, 1, 1)"),
    "transposed in two axes": (KEEP[:, :, 0, 0].T, "or (10, 64)"),
    "flat": (KEEP.flatten(), "(640,)"),
    "smaller": (KEEP[:1], "(1, 64, 1, 1)"),
    "fractions": (KEEP * 0.5, "values other than 0 and 1"),
    "twos": (KEEP.int() * 2, "values other than 0 and 1"),
    "NaN": (KEEP.float() + torch.nan, "values other than 0 and 1"),
    "sparse": (KEEP.float().to_sparse(), "a sparse tensor"),
    "nested": (
        torch.nested.as_nested_tensor([torch.ones(64)] * 10, layout=torch.jagged),
        "a nested tensor",
    ),
    "without values": (KEEP.to("meta"), "without values"),
    "objects": (KEEP.numpy().astype(object), "an array of object"),
    "texts": (KEEP.numpy().astype(str), "an array of <U"),
    "NumPy, fractions": (KEEP.numpy() * 0.5, "values other than 0 and 1"),
}
Entry = Callable[[dict[str, Any]], object]


def entries(data: Dataset) -> dict[str, Entry]:
    """What every function that takes masks makes of them, as values that compare."""

    space = Workspace(NET, data, LAYERS, ())

    def tuned(masks: dict[str, Any]) -> list[list[bool]]:
        config = TrainConfig(epochs=1, batch_size=1024, lr=0.1)
        *_, done = fine_tune(NET, masks, LAYERS, data, config, "cpu")
        assert isinstance(done, Tuned)
        kept: list[list[bool]] = (done.model.get_parameter("1.weight") != 0).tolist()
        return kept

    return {
        "apply_masks": lambda m: apply_masks(NET, m, LAYERS).get_parameter("1.weight").tolist(),
        "fine_tune": tuned,
        "measure": lambda m: measure(NET, LAYERS, m),
        "dependent_masks": lambda m: str(dependent_masks(NET, LAYERS, m)),
        "dead_inputs": lambda m: str(dead_inputs(NET, LAYERS, m, ())),
        "counts": lambda m: counts(Plan(granularity="filter"), space, m),
        "masks_by_parameter": lambda m: masks_by_parameter(m, LAYERS)["1.weight"].tolist(),
    }


def test_every_form_of_a_mask_means_the_same_at_every_entry() -> None:
    functions = entries(load_data("digits"))
    wanted = {entry: function({"1.weight": KEEP}) for entry, function in functions.items()}
    assert wanted["fine_tune"] == KEEP.view(10, 64).tolist()

    def same(form: str, entry: str) -> None:
        assert functions[entry]({"1.weight": FORMS[form](KEEP)}) == wanted[entry]

    check_each([(form, entry) for form in FORMS for entry in functions], same)


def test_other_masks_are_refused_at_every_entry_in_one_sentence() -> None:
    functions = entries(load_data("digits"))

    def refused(case: str, entry: str) -> None:
        mask, why = REFUSED[case]
        with pytest.raises(PruningError) as caught:
            functions[entry]({"1.weight": mask})
        assert why in str(caught.value)
        assert "1.weight" in str(caught.value)

    check_each([(case, entry) for case in REFUSED for entry in functions], refused)


@for_each(["0.weight", "1.bias"])
def test_a_mask_of_no_layer_is_refused(name: str) -> None:
    with pytest.raises(PruningError, match=f"'{name}' belongs to no layer"):
        checked_masks({name: KEEP}, LAYERS)


def test_a_tied_weight_may_be_named_by_each_of_its_names() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    layers = inventory(net, (4,))
    mask = torch.eye(4).view(4, 4, 1, 1)
    for given in ({"1.weight": mask}, {"0.weight": mask, "1.weight": mask.bool()}):
        assert checked_masks(given, layers).keys() == {"0.weight"}
        assert measure(net, layers, given).kept == {"0.weight": 0.25}
    with pytest.raises(PruningError, match="one tied weight"):
        checked_masks({"0.weight": mask, "1.weight": 1 - mask}, layers)


def test_masks_of_other_parameters_have_the_parameters_own_shape() -> None:
    keep = torch.ones(10)
    assert checked_parameter_masks({"1.bias": keep}, NET)["1.bias"].dtype == torch.bool
    with pytest.raises(PruningError, match=r"\(10, 1\); its parameter is \(10,\)"):
        apply_masks(NET, {}, LAYERS, {"1.bias": keep[:, None]})
    with pytest.raises(PruningError, match="belongs to no parameter"):
        measure(NET, LAYERS, {}, {"2.bias": keep})


def test_a_layer_tied_to_a_parameter_registered_earlier_is_counted() -> None:
    """An embedding is no layer of its own, but the first name of the output layer's weight."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(12, 8)
            self.out = nn.Linear(8, 12, bias=False)
            self.out.weight = self.embedding.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.embedding(x).mean(1))

    net = Tied().eval()
    layers = inventory(net, torch.zeros(1, 5, dtype=torch.long))
    half = torch.arange(96).ge(48).view(12, 8, 1, 1)
    report = measure(net, layers, {layers[0].name: half})
    assert (report.nonzeros, report.sparsity_masked, report.kept) == (
        48,
        0.5,
        {layers[0].name: 0.5},
    )

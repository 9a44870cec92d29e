"""The forms of a pruned network whose time is measured: masked, thinned, CSR, BSR, int8."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from pruning_core.compress.advisor import BSR, CSR, layer_inputs, mixed_model, takes_blocks
from pruning_core.compress.int8_blocks import int8_blocks
from pruning_core.compress.runtimes import RUNTIMES
from pruning_core.compress.thin import Thinned, thin
from pruning_core.compress.two_four import two_four
from pruning_core.granularity import granularity
from pruning_core.model.device import on_device
from pruning_core.model.model_io import input_tensors
from pruning_core.plan import Plan
from pruning_core.types import Inputs, Masks, PruningError
from pruning_core.workspaces import Workspace

MASKED = "masked"
THIN = "thin"
ROUNDED = (16,)
"""Kernels of many runtimes compute as many channels at once."""


@dataclass(frozen=True)
class Form:
    """A form of the masked network. make: masked network and a batch -> the network of this form;
    raises PruningError where there is none. runtimes: those that compute it. wider: it keeps more
    weights than the masked network, so its outputs are compared with its own in PyTorch.
    """

    name: str
    label: str
    make: Callable[[nn.Module, Inputs], nn.Module]
    runtimes: tuple[str, ...]
    wider: bool = False


@dataclass(frozen=True)
class Forms:
    """Forms by name. thinned: the thinned networks among them, the exact one first.

    notes: sentences on the forms; left_out: why others cannot be made.
    """

    forms: Mapping[str, Form]
    thinned: Mapping[str, Thinned] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def as_csr(masked: nn.Module, x: Inputs) -> nn.Module:
    """Every Linear and 1 x 1 convolution with its weight as CSR."""
    return mixed_model(masked, dict.fromkeys(_sparse_layers(masked, x), CSR))


def as_bsr(masked: nn.Module, x: Inputs) -> nn.Module:
    """Every Linear and 1 x 1 convolution whose sides 16 divides, as BSR of 16 x 16 blocks.

    Raises PruningError where there is no such layer.
    """
    names = [n for n in _sparse_layers(masked, x) if takes_blocks(masked.get_submodule(n))]
    if not names:
        raise PruningError("16 divides both sides of no Linear and no 1 x 1 convolution.")
    return mixed_model(masked, dict.fromkeys(names, BSR))


def _sparse_layers(masked: nn.Module, x: Inputs) -> list[str]:
    names = list(layer_inputs(masked, x))
    if not names:
        raise PruningError("The network has no Linear and no 1 x 1 convolution.")
    return names


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(MASKED, "Masked (zeros)", lambda masked, _x: masked, tuple(RUNTIMES)),
        Form(CSR, "CSR", as_csr, ("eager",)),
        Form(BSR, "BSR 16 x 16", as_bsr, ("eager",)),
        Form("int8", "int8 blocks 1 x 4", int8_blocks, ("eager",)),
    )
}
"""The forms of every masked network, by name."""
TWO_FOUR = Form("2:4", "2:4 in float16", two_four, ("eager",))
"""The form of masks of an N:M pattern. It is compared with the dense network in its own type."""


def forms_of(
    plan: Plan,
    space: Workspace,
    masks: Masks,
    round_to: Sequence[int] = (),
    *,
    model: nn.Module | None = None,
) -> Forms:
    """`FORMS`, thinned networks where the plan removes whole outputs or inputs, 2:4 where by N:M.

    round_to: for each, one more thinned network whose widths are multiples of it, where that is
    another network. It keeps more channels. model: trained with the masks; default: as `thin`.
    """
    chosen = granularity(plan.granularity)
    thinned: dict[str, Thinned] = {}
    forms = {MASKED: FORMS[MASKED]}
    notes: list[str] = []
    left_out: list[str] = []
    for multiple in (None, *round_to) if chosen.narrows else ():
        try:
            made = thin(plan, space, masks, model, round_to=multiple)
        except PruningError as error:
            left_out.append(f"{_label(multiple)}: {error}")
            continue
        if all(made.widths != other.widths for other in thinned.values()):
            thinned[_name(multiple)] = made
            forms[_name(multiple)] = thin_form(made, multiple)
            notes.append(_note(made, multiple))
    on_gpu = {} if chosen.n_kept is None else {TWO_FOUR.name: TWO_FOUR}
    return Forms(forms | FORMS | on_gpu, thinned, tuple(notes), tuple(left_out))


def thin_form(made: Thinned, round_to: int | None = None) -> Form:
    """The form of a thinned network."""

    def make(_masked: nn.Module, x: Inputs) -> nn.Module:
        return on_device(made.module, torch.device(input_tensors(x)[0].device))

    name = _name(round_to)
    return Form(name, _label(round_to), make, tuple(RUNTIMES), wider=round_to is not None)


def _name(round_to: int | None) -> str:
    return THIN if round_to is None else f"{THIN}{round_to}"


def _label(round_to: int | None) -> str:
    return "Thinned" if round_to is None else f"Thinned, {round_to}s"


def _note(made: Thinned, round_to: int | None) -> str:
    before, after = made.macs
    note = (
        f"{_label(round_to)}: {made.bytes[1]:,} bytes if stored densely, {after / before:.0%} of "
        "the multiply-adds."
    )
    if round_to is None:
        return note
    return f"{note} Its widths are multiples of {round_to}, so it keeps more channels."

"""Which layers are faster with a sparse weight? Measured on this machine, layer by layer."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_core.compress import sparse_kernels
from pruning_core.compress.paired_times import BUDGET, Timing, Variant, compare
from pruning_core.compress.runtimes import first_output, prepare_eager
from pruning_core.compress.sparse_kernels import SparseLinear, is_pointwise, sparse_layer
from pruning_core.compress.thin_network import TOLERANCE, relative_error
from pruning_core.model.model_io import copy_model
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

LOADER = Path(sparse_kernels.__file__).read_text(encoding="utf-8")
"""The script load_mixed.py, which loads a mixed network with torch alone."""
BSR = "bsr16"
SIDE = 16
"""Of the blocks of BSR."""
LAYER_BUDGET = 0.6
LAYER_ROUNDS = 9
DENSE = "dense"
CSR = "csr"


@dataclass(frozen=True)
class LayerAdvice:
    """One layer at its own input. kept: fraction of nonzeros; columns: samples x positions that it
    reads at once; chosen: dense | thin | csr | bsr16; timings: dense first, then each format.
    why: the reason where nothing was measured.
    """

    layer: str
    shape: tuple[int, int]
    kept: float
    columns: int
    chosen: str
    timings: tuple[Timing, ...]
    why: str | None = None


@dataclass(frozen=True, eq=False)
class Advice:
    """The last event. model: the fastest network; where nothing is faster, the masked one with
    dense kernels. timings: whole networks, the dense one first. chosen: name of the timing of
    `model`. error: of its outputs against the masked network's, relative to the largest output.
    why: the reason where the dense kernels stay.
    """

    model: nn.Module
    layers: tuple[LayerAdvice, ...]
    timings: tuple[Timing, ...]
    chosen: str
    error: float
    why: str | None

    @property
    def speedup(self) -> float:
        """Of the chosen network against the dense one; 1 where dense stays."""
        return next(t.speedup for t in self.timings if t.variant == self.chosen)


def advise(
    dense: nn.Module,
    masked: nn.Module,
    x: Inputs,
    *,
    thinned: nn.Module | None = None,
    rounds: int = 31,
    budget: float = BUDGET,
) -> Iterator[LayerAdvice | Advice]:
    """Chooses dense, CSR or BSR for each Linear and 1 x 1 convolution, and times the whole network.

    dense, masked: in eval mode on the CPU, not changed; x: a batch; thinned: the narrower network
    with the masked one's outputs, where there is one: its layers are then chosen from. A format is
    chosen only where it is faster at the layer's own input by more than the noise; the mixed
    network only where it is faster than the dense one end to end. Otherwise dense stays.
    """
    base = masked if thinned is None else thinned
    inputs = layer_inputs(base, x)
    layers = []
    for name, given in inputs.items():
        layers.append(_advice(name, base, dense, given))
        yield layers[-1]
    formats = {layer.layer: layer.chosen for layer in layers if layer.chosen not in (DENSE, "thin")}
    networks = {} if thinned is None else {"thin": thinned}
    if formats:
        networks["mixed"] = mixed_model(base, formats)
    yield _whole(dense, masked, networks, tuple(layers), x, rounds, budget)


def _whole(
    dense: nn.Module,
    masked: nn.Module,
    networks: Mapping[str, nn.Module],
    layers: tuple[LayerAdvice, ...],
    x: Inputs,
    rounds: int,
    budget: float,
) -> Advice:
    """Times the candidates end to end, and chooses."""
    labels = {"thin": "Thinned", "mixed": "Mixed: the fastest format of each layer"}
    want = [first_output(prepare_eager(masked, x)())]
    with user_code("The forward pass of the changed network"):
        errors = {
            name: relative_error([first_output(prepare_eager(model, x)())], want)
            for name, model in networks.items()
        }
    right = {name: model for name, model in networks.items() if errors[name] <= TOLERANCE}
    everything = {"masked": masked, **right}
    variants = [
        Variant(name, labels.get(name, "Masked"), prepare_eager(model, x))
        for name, model in everything.items()
    ]
    reference = Variant(DENSE, "Dense", prepare_eager(dense, x))
    compared = compare(reference, variants, rounds=rounds, budget=budget)
    faster = [t for t in compared.timings if t.variant in right and t.verdict == "faster"]
    if not faster:
        wrong = [name for name in networks if name not in right]
        return Advice(masked, layers, compared.timings, DENSE, 0.0, _why_dense(layers, wrong))
    best = max(faster, key=lambda timing: timing.speedup)
    error = errors[best.variant]
    return Advice(right[best.variant], layers, compared.timings, best.variant, error, None)


def _why_dense(layers: Sequence[LayerAdvice], wrong: Sequence[str]) -> str:
    if wrong:
        return f"The outputs of the {wrong[0]} network differ from the masked one's: dense stays."
    if not layers:
        return "The network has no Linear and no 1 x 1 convolution: dense stays."
    if all(layer.chosen == DENSE for layer in layers):
        return "No layer is faster in a sparse format here: dense stays."
    return "The whole network is not faster than dense here: dense stays."


def layer_inputs(model: nn.Module, x: Inputs) -> dict[str, Tensor]:
    """What each Linear and 1 x 1 convolution that is called once per pass reads, by its path."""
    seen: dict[str, list[Tensor]] = {}
    work = copy_model(model).eval()

    def keep(name: str, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.setdefault(name, []).append(args[0].detach())

    for name, module in work.named_modules():
        if name and (type(module) is nn.Linear or is_pointwise(module)):
            module.register_forward_pre_hook(partial(keep, name))
    with user_code("The network's forward pass"):
        prepare_eager(work, x)()
    return {name: given[0] for name, given in seen.items() if len(given) == 1}


def sparse_copy(module: nn.Module, form: str) -> SparseLinear:
    """The layer in a format: csr or bsr16. Raises PruningError where blocks do not fit."""
    weight = _matrix(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that these formats are in beta
        if form == CSR:
            return sparse_layer(module, weight.to_sparse_csr())
        if not takes_blocks(module):
            raise PruningError(f"{SIDE} does not divide {' x '.join(map(str, weight.shape))}.")
        return sparse_layer(module, weight.to_sparse_bsr((SIDE, SIDE)))


def takes_blocks(module: nn.Module) -> bool:
    """Does the side of a block divide both sides of the layer's weight?"""
    return not any(length % SIDE for length in _matrix(module).shape)


def mixed_model(base: nn.Module, formats: Mapping[str, str]) -> nn.Module:
    """A copy of the network with those layers in those formats. formats: path -> csr or bsr16.

    Its `state_dict` is what load_mixed.py reads.
    """
    work = copy_model(base).eval()
    for name, form in formats.items():
        work.set_submodule(name, sparse_copy(work.get_submodule(name), form))
    return work


def _advice(name: str, base: nn.Module, dense: nn.Module, given: Tensor) -> LayerAdvice:
    module = base.get_submodule(name)
    weight = _matrix(module)
    shape = (weight.shape[0], weight.shape[1])
    narrower = _matrix(dense.get_submodule(name)).shape != weight.shape
    unchanged = "thin" if narrower else DENSE
    kept = float((weight != 0).float().mean())
    columns = given.numel() // shape[1]
    advice = partial(LayerAdvice, name, shape, kept, columns)
    if kept == 1:
        return advice(unchanged, (), "Nothing is removed from it.")
    forms = [CSR, BSR] if takes_blocks(module) else [CSR]
    calls = {form: _runs(sparse_copy(module, form), given) for form in forms}
    variants = [Variant(form, form, call) for form, call in calls.items()]
    reference = Variant(unchanged, unchanged, _runs(module, given))
    compared = compare(reference, variants, rounds=LAYER_ROUNDS, budget=LAYER_BUDGET)
    faster = [timing for timing in compared.timings[1:] if timing.verdict == "faster"]
    best = max(faster, key=lambda timing: timing.speedup, default=compared.timings[0])
    return advice(best.variant, compared.timings)


def _runs(module: nn.Module, given: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            out: Tensor = module(given)
        return out

    return run


def _matrix(module: nn.Module) -> Tensor:
    """The weight as outputs x inputs."""
    weight = module.get_parameter("weight").detach()
    return weight.flatten(1)

"""Finds the channels that are tied, by torch-pruning's dependency graph, and checks them."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pruning_core.model.coupling.positions import ChannelPositions, Coupling, Positions
from pruning_core.model.graph import TRACE_ERRORS
from pruning_core.model.inventory import NORMS, SEPARATE
from pruning_core.model.model_io import (
    call,
    copy_model,
    first_input,
    first_sample,
    logits,
    map_tensors,
    random_if_zero,
)
from pruning_core.types import Example, Inputs, Layer, PruningError

IS_OUTPUT = "Its outputs are the network's own: removing one would remove a class."
HEAD_ROWS = (
    "Its rows belong to attention heads of one width, so that no single row can be removed: "
    "use head granularity."
)
NOT_TRACED = "torch-pruning does not see where its outputs are used."
NOT_ZERO = (
    "Removed channels would still have a value: something adds to them "
    "that torch-pruning does not follow."
)


class _ParameterAxis(NamedTuple):
    """An axis of a parameter and what the parameter does with the channels along it.

    role: member (computes them), follow (is zeroed with them) or read (takes them as inputs);
    rows: as in `ChannelPositions`.
    """

    role: str
    parameter: str
    axis: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class _Dependents:
    """All that must change when output rows of one layer are removed.

    positions: for each parameter axis, positions along it and the layer's rows that they belong
    to; reason: why no row can be removed, None where rows can be removed.
    """

    positions: dict[_ParameterAxis, tuple[Positions, Positions]]
    reason: str | None

    @property
    def members(self) -> list[tuple[str, Positions, Positions]]:
        """(weight, positions, rows) of the weights that compute the same channels."""
        return [
            (axis.parameter, positions, rows)
            for axis, (positions, rows) in self.positions.items()
            if axis.role == "member"
        ]


def couplings(model: nn.Module, layers: tuple[Layer, ...], shape: Example) -> tuple[Coupling, ...]:
    """The output channels of all layers, tied channels in one coupling, in the network's order.

    shape: C x H x W of one input, or a batch, as `inventory` takes them. The model is not changed:
    torch-pruning's dependency graph traces a copy. Then every second channel of each coupling is
    zeroed in the copy. A coupling whose readers still get another value than zero there has a
    reason and cannot be pruned. A layer norm still averages over zeroed channels; a network without
    the channels would not. Raises PruningError where the network cannot be traced. Fang et al.
    2023 (DepGraph), arXiv:2301.12900.
    """
    work = _traceable(model)
    graph = _graph(work, first_sample(shape))
    dependents: dict[str, _Dependents] = {}
    covered: set[str] = set()
    for layer in layers:
        if layer.name not in covered:
            dependents[layer.name] = _dependents(graph, work, layer, layers)
            covered |= _same_channels(dependents[layer.name], layer)
    joined = _joined(layers, dependents)
    wrong = _not_zeroed(work, joined, shape)
    return tuple(
        replace(coupling, reason=NOT_ZERO) if index in wrong else coupling
        for index, coupling in enumerate(joined)
    )


class _Attention(nn.Module):
    """Stands for nn.MultiheadAttention: the same projections, without the attention between them.

    torch-pruning can trace it, and a channel of an input affects the same projections.
    """

    def __init__(self, old: nn.MultiheadAttention, rng: torch.Generator) -> None:
        super().__init__()
        sizes = (old.embed_dim, old.kdim, old.vdim)
        self.query, self.key, self.value = (
            _linear(int(size), old.embed_dim, rng) for size in sizes
        )
        self.out_proj = _linear(old.embed_dim, old.embed_dim, rng)
        self.out_proj.load_state_dict(old.out_proj.state_dict(), strict=False)
        self.tokens = int(old.batch_first)
        self.packed = old.in_proj_weight is not None

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, **_options: Any
    ) -> tuple[Tensor, None]:
        mixed = (self.key(key) + self.value(value)).mean(self.tokens, keepdim=True)
        return self.out_proj(self.query(query) + mixed), None

    def read_axis(self, projection: nn.Module, path: str) -> _ParameterAxis | None:
        """The weight in the real attention at `path` that a projection stands for.

        None for the output projection.
        """
        projections = (self.query, self.key, self.value)
        index = next((k for k, own in enumerate(projections) if own is projection), None)
        if index is None:
            return None
        if not self.packed:
            return _ParameterAxis("read", f"{path}.{SEPARATE[index]}", 1)
        size = self.query.out_features
        rows = (index * size, (index + 1) * size)
        return _ParameterAxis("read", f"{path}.in_proj_weight", 1, rows)


def _traceable(model: nn.Module) -> nn.Module:
    """A copy on the CPU, in eval mode, with gradients and with attention as `_Attention`."""
    work = copy_model(model).cpu().float().eval().requires_grad_(True)
    rng = torch.Generator().manual_seed(0)
    for path, module in list(work.named_modules()):
        if path and isinstance(module, nn.MultiheadAttention):
            parent, _, child = path.rpartition(".")
            setattr(work.get_submodule(parent), child, _Attention(module, rng).eval())
    return work


def _linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """A Linear with random weights. It does not use torch's own generator, which threads share."""
    made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=rng)
    return made


def _graph(work: nn.Module, x: Inputs) -> Any:
    import torch_pruning  # takes 1 s to import, and only whole filters need it

    with _tracing_errors(), torch.inference_mode(False), torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(
            work, x, forward_fn=logits, verbose=False
        )


@contextmanager
def _tracing_errors() -> Iterator[None]:
    """Turns what torch-pruning raises into a PruningError of one sentence."""
    try:
        with warnings.catch_warnings():
            # After this warning torch-pruning would run for hours.
            warnings.filterwarnings("error", "Maximum recursive depth")
            yield
    except (*TRACE_ERRORS, ArithmeticError, UserWarning) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".!")
        raise PruningError(
            f"torch-pruning cannot trace which channels of this network are tied together: {why}."
        ) from error


def _dependents(
    graph: Any, work: nn.Module, layer: Layer, layers: tuple[Layer, ...]
) -> _Dependents:
    rows_of_layer = torch.arange(layer.shape[0])
    own = {_ParameterAxis("member", layer.name, 0): (rows_of_layer, rows_of_layer.clone())}
    if not _has_free_rows(layer):
        return _Dependents(own, HEAD_ROWS)
    module = work.get_submodule(layer.name.rpartition(".")[0])
    if module not in graph.module2node:
        return _Dependents(own, NOT_TRACED)
    with _tracing_errors():
        prune = graph.get_pruner_of_module(module).prune_out_channels
        group = graph.get_pruning_group(module, prune, list(range(layer.shape[0])))
    reason = IS_OUTPUT if layer.is_output or not graph.module2node[module].outputs else None
    owners = {
        work.get_submodule(name.rpartition(".")[0]): prunable
        for prunable in layers
        if _has_free_rows(prunable)
        for name in (prunable.name, *prunable.aliases)
    }
    positions: dict[_ParameterAxis, tuple[Positions, Positions]] = {}
    for item in group:
        reading = item.dep.handler.__name__ == "prune_in_channels"
        axes, why = _axes(graph, work, item.dep.target, owners, reading=reading)
        reason = reason or why
        positions |= dict.fromkeys(axes, (torch.tensor(item.idxs), torch.tensor(item.root_idxs)))
    return _Dependents(own | positions, reason)


def _has_free_rows(layer: Layer) -> bool:
    """Can single rows be removed? Not where they belong to attention heads."""
    return not layer.heads or layer.kind == "attention_out"


def _axes(
    graph: Any, work: nn.Module, target: Any, owners: Mapping[nn.Module, Layer], *, reading: bool
) -> tuple[list[_ParameterAxis], str | None]:
    """The parameters of one graph node that hold the channels, and why these cannot be removed."""
    module = target.module
    path = graph._module2name.get(module, "")
    if isinstance(module, nn.Parameter):
        axis = target.pruning_dim % module.ndim
        return [_ParameterAxis("follow", graph._param_to_name[module], axis)], None
    if isinstance(module, NORMS):
        names = [f"{path}.{name}" for name, _ in module.named_parameters()]
        return [_ParameterAxis("follow", name, 0) for name in names], None
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        if reading:
            return [_read_axis(work, path)], _grouped(module, path)
        if module not in owners:
            return [], f"{path} computes these channels too, and cannot be pruned."
        axes = [_ParameterAxis("member", owners[module].name, 0)]
        if module.bias is not None:
            axes.append(_ParameterAxis("follow", f"{path}.bias", 0))
        return axes, _grouped(module, path)
    if type(module).__name__ == "_OutputOp":
        return [], IS_OUTPUT
    if path and list(module.parameters()):
        return [], f"torch-pruning does not say what {path} does to channels."
    return [], None


def _grouped(module: nn.Module, path: str) -> str | None:
    """Why channels of a grouped convolution cannot be removed; None for other modules."""
    if 1 < getattr(module, "groups", 1) != getattr(module, "in_channels", 0):
        return (
            f"{path} is a grouped convolution: only equal numbers of channels "
            "can be removed from its groups."
        )
    return None


def _read_axis(work: nn.Module, path: str) -> _ParameterAxis:
    """The input axis of a module's weight; for projections of `_Attention`, of the real weight."""
    parent = path.rpartition(".")[0]
    owner = work.get_submodule(parent)
    if isinstance(owner, _Attention):
        axis = owner.read_axis(work.get_submodule(path), parent)
        if axis is not None:
            return axis
    return _ParameterAxis("read", f"{path}.weight", 1)


def _same_channels(dependents: _Dependents, layer: Layer) -> set[str]:
    """The members that hold exactly the layer's channels, one row each.

    They have the same dependents as the layer.
    """
    size = layer.shape[0]
    return {
        name
        for name, positions, rows in dependents.members
        if len(positions) == size == len(positions.unique()) == len(rows.unique())
    }


def _joined(
    layers: tuple[Layer, ...], dependents: Mapping[str, _Dependents]
) -> tuple[Coupling, ...]:
    """The couplings: rows that any layer's dependents tie to each other are one channel."""
    starts = {}
    total = 0
    for layer in layers:
        starts[layer.name] = total
        total = total + layer.shape[0]
    ties = [
        (starts[root] + rows, starts[name] + positions)
        for root, own in dependents.items()
        for name, positions, rows in own.members
    ]
    label = _connected(total, ties)
    labels = {
        layer.name: label[starts[layer.name] : starts[layer.name] + layer.shape[0]]
        for layer in layers
    }
    return tuple(_coupling(names, labels, dependents) for names in _components(labels))


def _connected(total: int, ties: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """For each of `total` rows the first row that it is tied to, directly or through others."""
    label = torch.arange(total)
    before = None
    while before is None or not torch.equal(before, label):
        before = label.clone()
        for one, other in ties:
            low = torch.minimum(label[one], label[other])
            label.scatter_reduce_(0, one, low, "amin").scatter_reduce_(0, other, low, "amin")
    return label


def _components(labels: Mapping[str, Tensor]) -> list[list[str]]:
    """The layers by connected component: those that share a label, directly or through others."""
    components: list[tuple[set[int], list[str]]] = []
    for name, own in labels.items():
        shared = set(own.tolist())
        names = [name]
        for component in [known for known in components if known[0] & shared]:
            components.remove(component)
            shared = component[0] | shared
            names = component[1] + names
        components.append((shared, names))
    order = list(labels)
    return sorted(
        (sorted(names, key=order.index) for _, names in components),
        key=lambda names: order.index(names[0]),
    )


def _coupling(
    names: Sequence[str], labels: Mapping[str, Tensor], dependents: Mapping[str, _Dependents]
) -> Coupling:
    """One component. Its channels are numbered in the order of the first member that has them."""
    order = torch.cat([labels[name] for name in names]).unique()
    channel_at: dict[_ParameterAxis, dict[int, int]] = defaultdict(dict)
    reasons = []
    for root, own in dependents.items():
        if root not in names:
            continue
        reasons.append(own.reason)
        for axis, (positions, rows) in own.positions.items():
            channels = torch.searchsorted(order, labels[root][rows])
            channel_at[axis] |= dict(zip(positions.tolist(), channels.tolist(), strict=True))
    by_role: dict[str, list[ChannelPositions]] = defaultdict(list)
    for axis, pairs in channel_at.items():
        by_role[axis.role].append(_channel_positions(axis, pairs.items()))
    return Coupling(
        members=tuple(sorted(by_role["member"], key=lambda own: names.index(own.parameter))),
        follows=tuple(by_role["follow"]),
        reads=tuple(by_role["read"]),
        channels=len(order),
        reason=next(filter(None, reasons), None),
    )


def _channel_positions(axis: _ParameterAxis, pairs: Iterable[tuple[int, int]]) -> ChannelPositions:
    positions, channels = torch.tensor(sorted(pairs)).unbind(1)
    return ChannelPositions(axis.parameter, axis.axis, positions, channels, axis.rows)


@torch.no_grad()
def _not_zeroed(work: nn.Module, known: Sequence[Coupling], shape: Example) -> set[int]:
    """Zeroes every second channel of every coupling in the copy and runs it.

    Gives the indices of the couplings whose readers still get a value there.
    """
    expected: dict[_ParameterAxis, list[tuple[int, Tensor]]] = defaultdict(list)
    for index, coupling in enumerate(known):
        if coupling.reason is not None:
            continue
        for own in (*coupling.members, *coupling.follows):
            zeroed = own.positions[own.channels % 2 == 1]
            work.get_parameter(own.parameter).index_fill_(own.axis, zeroed, 0)
        for own in coupling.reads:
            axis = _ParameterAxis("read", own.parameter, own.axis, own.rows)
            expected[axis].append((index, own.positions[own.channels % 2 == 1]))
    wrong: set[int] = set()
    for path, module in work.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            zeros = expected.get(_read_axis(work, path))
            if zeros:
                hook = partial(_note_values, zeros, wrong)
                module.register_forward_pre_hook(hook, with_kwargs=True)
    call(work, map_tensors(first_sample(shape), random_if_zero))
    return wrong


def _note_values(
    zeros: Sequence[tuple[int, Tensor]],
    wrong: set[int],
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """A hook: adds the couplings whose zeroed channels are not zero in the module's input."""
    axis = -1 if isinstance(module, nn.Linear) else 1
    read = first_input(module, args, kwargs)
    wrong.update(index for index, at in zeros if bool(read.index_select(axis, at).count_nonzero()))

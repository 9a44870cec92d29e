"""Which channels are tied: torch-pruning's dependency graph, read as slots and checked on a zeroed
copy.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pruning_core.model.coupling.positions import Coupling, Positions, Slot
from pruning_core.model.graph import FAILS
from pruning_core.model.inventory import NORMS, SEPARATE
from pruning_core.model.model_io import call, drawn, each, example, first_input, logits
from pruning_core.types import Example, Inputs, Layer, PruningError

OUTPUT = "Its outputs are the network's own: removing one would remove a class."
HEADS = "Its rows belong to attention heads of one width, so that no single row can go: use head granularity."
UNSEEN = "torch-pruning does not see where its outputs go."
CARRIES = "Removed channels would still carry a value: something adds to them that torch-pruning does not follow."


class _Place(NamedTuple):
    """One place of a parameter: kind is member, follow or read; rows as in `Slot`."""

    kind: str
    name: str
    axis: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class _Reach:
    """What one layer's output rows reach: positions in every place and the rows that they belong
    to.
    """

    slots: dict[_Place, tuple[Positions, Positions]]
    reason: str | None


def couplings(model: nn.Module, layers: tuple[Layer, ...], shape: Example) -> tuple[Coupling, ...]:
    """Every layer's output channels, those tied together as one coupling, in the network's order;
    the model is not changed.

    A copy is traced with one input of `shape` (C x H x W, or a batch, as `inventory` takes them) by
    torch-pruning's dependency graph; then half of all channels are zeroed in it, and a coupling
    whose readers still see something there gets a reason instead of being believed. Channels that a
    layer norm averages over leave its statistics, which removal in fact would not. Raises
    PruningError where the network cannot be traced. Fang et al. 2023 (DepGraph), arXiv:2301.12900.
    """
    work = _traceable(model)
    graph = _graph(work, example(shape))
    reaches: dict[str, _Reach] = {}
    known: set[str] = set()
    for layer in layers:
        if layer.name not in known:
            reaches[layer.name] = _reach(graph, work, layer, layers)
            known |= _whole(reaches[layer.name], layer)
    found = _joined(layers, reaches)
    flawed = _carrying(work, found, shape)
    return tuple(replace(c, reason=CARRIES) if at in flawed else c for at, c in enumerate(found))


class _Attention(nn.Module):
    """What attention does to channels and nothing else: whatever comes in goes through projections,
    and one more comes out.
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
        seen = (self.key(key) + self.value(value)).mean(self.tokens, keepdim=True)
        return self.out_proj(self.query(query) + seen), None

    def place(self, projection: nn.Module, path: str) -> _Place | None:
        """Where the real attention at that path has what a projection of this one reads with; None
        for the output's.
        """
        if (
            at := next(
                (
                    k
                    for k, own in enumerate((self.query, self.key, self.value))
                    if own is projection
                ),
                None,
            )
        ) is None:
            return None
        size = self.query.out_features
        rows = (at * size, (at + 1) * size) if self.packed else None
        return _Place(
            "read", f"{path}.{'in_proj_weight' if self.packed else SEPARATE[at]}", 1, rows
        )


def _traceable(model: nn.Module) -> nn.Module:
    """A copy to trace and to zero, on the CPU, in eval mode, with gradients and with attention as
    `_Attention`.
    """
    work = deepcopy(model).cpu().float().eval().requires_grad_(True)
    rng = torch.Generator().manual_seed(0)
    for path, module in list(work.named_modules()):
        if path and isinstance(module, nn.MultiheadAttention):
            parent, _, child = path.rpartition(".")
            setattr(work.get_submodule(parent), child, _Attention(module, rng).eval())
    return work


def _linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """A layer with random weights that leaves torch's own generator alone: other threads draw from
    it.
    """
    made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=rng)
    return made


def _graph(work: nn.Module, x: Inputs) -> Any:
    import torch_pruning  # 1 s to import, and needed for whole filters only

    with _understood(), torch.inference_mode(False), torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(
            work, x, forward_fn=logits, verbose=False
        )


@contextmanager
def _understood() -> Iterator[None]:
    """What torch-pruning raises where it cannot follow a network, as one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Maximum recursive depth")  # it would go on for hours
            yield
    except (*FAILS, ArithmeticError, UserWarning) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".!")
        raise PruningError(
            f"torch-pruning cannot trace which channels of this network are tied together: {why}."
        ) from error


def _reach(graph: Any, work: nn.Module, layer: Layer, layers: tuple[Layer, ...]) -> _Reach:
    """Everything that must change when output rows of the layer go."""
    itself = {
        _Place("member", layer.name, 0): (
            torch.arange(layer.shape[0]),
            torch.arange(layer.shape[0]),
        )
    }
    if layer.heads and layer.kind != "attention_out":
        return _Reach(itself, HEADS)
    module = work.get_submodule(layer.name.rpartition(".")[0])
    if module not in graph.module2node:
        return _Reach(itself, UNSEEN)
    with _understood():
        fn = graph.get_pruner_of_module(module).prune_out_channels
        group = graph.get_pruning_group(module, fn, list(range(layer.shape[0])))
    reason = OUTPUT if layer.is_output or not graph.module2node[module].outputs else None
    owners = {
        work.get_submodule(n.rpartition(".")[0]): x
        for x in layers
        if _has_rows(x)
        for n in (x.name, *x.aliases)
    }
    slots: dict[_Place, tuple[Positions, Positions]] = {}
    for item in group:
        target = item.dep.target
        at = torch.tensor(item.idxs)
        rows = torch.tensor(item.root_idxs)
        reading = item.dep.handler.__name__ == "prune_in_channels"
        keys, why = _places(graph, work, target, owners, reading=reading)
        reason = reason or why
        slots |= dict.fromkeys(keys, (at, rows))
    return _Reach(itself | slots, reason)


def _has_rows(layer: Layer) -> bool:
    return not layer.heads or layer.kind == "attention_out"


def _places(
    graph: Any, work: nn.Module, target: Any, owners: Mapping[nn.Module, Layer], *, reading: bool
) -> tuple[list[_Place], str | None]:
    """Where the parameters of one node hold the channels, and why they could not go."""
    module = target.module
    path = graph._module2name.get(target.module, "")
    if isinstance(module, nn.Parameter):
        return [
            _Place("follow", graph._param_to_name[module], target.pruning_dim % module.ndim)
        ], None
    if isinstance(module, NORMS):
        return [
            _Place("follow", f"{path}.{name}", 0) for name, _ in module.named_parameters()
        ], None
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        groups = getattr(module, "groups", 1)
        inputs = getattr(module, "in_channels", 0)
        why = (
            f"{path} is a grouped convolution, whose channels can only go evenly."
            if 1 < groups != inputs
            else None
        )
        if reading:
            return [_reading(work, path)], why
        if module not in owners:
            return [], f"{path} makes these channels too, and cannot be pruned."
        bias = [_Place("follow", f"{path}.bias", 0)] if module.bias is not None else []
        return [_Place("member", owners[module].name, 0), *bias], why
    if type(module).__name__ == "_OutputOp":
        return [], OUTPUT
    return [], f"torch-pruning does not say what {path} does to channels." if path and list(
        module.parameters()
    ) else None


def _reading(work: nn.Module, path: str) -> _Place:
    """Where a module reads; the projections of `_Attention` stand for the real one's."""
    parent = path.rpartition(".")[0]
    owner = work.get_submodule(parent)
    real = owner.place(work.get_submodule(path), parent) if isinstance(owner, _Attention) else None
    return real or _Place("read", f"{path}.weight", 1)


def _whole(reach: _Reach, layer: Layer) -> set[str]:
    """The members that hold exactly the layer's channels, one row each: they reach what it reaches."""
    size = layer.shape[0]
    slots = (
        (place.name, at, rows)
        for place, (at, rows) in reach.slots.items()
        if place.kind == "member"
    )
    return {
        name
        for name, at, rows in slots
        if len(at) == size == len(at.unique()) == len(rows.unique())
    }


def _joined(layers: tuple[Layer, ...], reaches: Mapping[str, _Reach]) -> tuple[Coupling, ...]:
    """The couplings: rows that any reach ties to each other are one channel."""
    starts = {}
    total = 0
    for layer in layers:
        starts[layer.name] = total
        total = total + layer.shape[0]
    sizes = {layer.name: layer.shape[0] for layer in layers}
    label = torch.arange(total)  # of every row of every layer: the first row that it is tied to
    ties = [
        (starts[root] + rows, starts[place.name] + at)
        for root, reach in reaches.items()
        for place, (at, rows) in reach.slots.items()
        if place.kind == "member"
    ]
    before = None
    while before is None or not torch.equal(before, label):
        before = label.clone()
        for one, other in ties:
            low = torch.minimum(label[one], label[other])
            label.scatter_reduce_(0, one, low, "amin").scatter_reduce_(0, other, low, "amin")
    labels = {name: label[start : start + sizes[name]] for name, start in starts.items()}
    return tuple(_coupling(part, labels, reaches) for part in _parts(labels))


def _parts(labels: Mapping[str, Tensor]) -> list[list[str]]:
    """The layers by connected component: those that share a label, at once or through others."""
    parts: list[tuple[set[int], list[str]]] = []
    for name, found in labels.items():
        mine = set(found.tolist())
        names = [name]
        for part in [part for part in parts if part[0] & mine]:
            parts.remove(part)
            mine = part[0] | mine
            names = part[1] + names
        parts.append((mine, names))
    order = list(labels)
    return sorted(
        (sorted(names, key=order.index) for _, names in parts),
        key=lambda names: order.index(names[0]),
    )


def _coupling(
    names: Sequence[str], labels: Mapping[str, Tensor], reaches: Mapping[str, _Reach]
) -> Coupling:
    """One component: its channels numbered in order of the first member that has them."""
    order = torch.cat([labels[name] for name in names]).unique()
    positions: dict[_Place, dict[int, int]] = defaultdict(dict)
    reasons = [reach.reason for root, reach in reaches.items() if root in names and reach.reason]
    for root, reach in reaches.items():
        for place, (at, rows) in reach.slots.items() if root in names else ():
            channels = torch.searchsorted(order, labels[root][rows])
            positions[place] |= dict(zip(at.tolist(), channels.tolist(), strict=True))
    slots = {place: _slot(place, found.items()) for place, found in positions.items()}
    members = sorted(
        (slot for own, slot in slots.items() if own.kind == "member"),
        key=lambda slot: names.index(slot.name),
    )
    kinds = {
        kind: tuple(slot for own, slot in slots.items() if own.kind == kind)
        for kind in ("follow", "read")
    }
    return Coupling(
        tuple(members), kinds["follow"], kinds["read"], len(order), next(iter(reasons), None)
    )


def _slot(place: _Place, pairs: Iterable[tuple[int, int]]) -> Slot:
    at, channel = torch.tensor(sorted(pairs)).unbind(1)
    return Slot(place.name, place.axis, at, channel, place.rows)


@torch.no_grad()
def _carrying(work: nn.Module, found: Sequence[Coupling], shape: Example) -> set[int]:
    """Zeroes every second channel of every coupling in the copy; which couplings' readers still see
    a value there.
    """
    dead: dict[_Place, list[tuple[int, Tensor]]] = defaultdict(list)
    for number, coupling in enumerate(found):
        for slot in (*coupling.members, *coupling.follows) if coupling.reason is None else ():
            work.get_parameter(slot.name).index_fill_(slot.axis, slot.at[slot.channel % 2 == 1], 0)
        for slot in coupling.reads if coupling.reason is None else ():
            dead[_Place("read", slot.name, slot.axis, slot.rows)].append(
                (number, slot.at[slot.channel % 2 == 1])
            )
    carrying: set[int] = set()
    for path, module in work.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and (
            asked := dead.get(_reading(work, path))
        ):
            module.register_forward_pre_hook(partial(_look, asked, carrying), with_kwargs=True)
    call(work, each(example(shape), drawn))
    return carrying


def _look(
    asked: Sequence[tuple[int, Tensor]],
    carrying: set[int],
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """A hook: notes the couplings whose zeroed channels are not zero in the module's input."""
    axis = -1 if isinstance(module, nn.Linear) else 1
    read = first_input(module, args, kwargs)
    carrying.update(
        number for number, at in asked if bool(read.index_select(axis, at).count_nonzero())
    )

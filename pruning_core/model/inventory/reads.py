"""Sees every read of a weight while a model runs, with or without a call of the weight's module."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import BaseTorchFunctionMode
from torch.utils._pytree import tree_map_only

from pruning_core.model.inventory.products import MIXING, PRODUCTS, Product
from pruning_core.model.inventory.routers import Routes
from pruning_core.model.model_io import storage, tensors_in
from pruning_core.model.operation_mode import OperationMode

aten = torch.ops.aten
JOINS = {aten.cat, aten.stack}
MOVES = JOINS | {aten.index, aten.index_select, aten.flip, aten.roll, aten.repeat}
"""Operations that copy elements to other places."""
CHOOSING = {aten.index, aten.index_select}
"""Operations that choose elements by numbers, such as the weights of a token's experts."""
SUMS = {aten.addmm, aten._addmm_activation, aten.baddbmm, aten.addmv}
"""Products with a first argument that is added to the result."""


class PlainKernels(BaseTorchFunctionMode):
    """In this thread, nn.TransformerEncoder and nn.MultiheadAttention call their own modules.

    Their fused kernels for evaluation call no module, and torch leaves them out in such a mode.
    """


Numbers = Callable[[Tensor], Tensor]
"""A tensor -> for each of its elements the number of its weight, -1 where it has none."""


@dataclass(frozen=True, eq=False)
class Read:
    """A product of a weight, or of a part or a function of it, with data.

    parameter: the weight's name. macs: multiply-adds. product: the operation's. output: of the
    operation.
    first: the number of the product's first weight in the flat parameter, where the product's
    weights are a view of that parameter; else None.
    places: for each element of the product's weight its number in the flat parameter, and True
    where it belongs to this parameter (another parameter may be in the same operand).
    """

    parameter: str
    macs: int
    product: Product
    output: Any
    first: int | None
    places: Callable[[], tuple[Tensor, Tensor]]

    def squares(self, size: int) -> Tensor:
        """The sum of the squares of what each element of the flat parameter is multiplied with."""
        numbers, own = self.places()
        total = torch.zeros(size, dtype=torch.float64)
        values = self.product.squares().detach().double().cpu()
        return total.index_add_(0, numbers[own], values[own])


@dataclass(eq=False)
class _Stored:
    """What is known of a storage.

    constant: its values are those of parameters and buffers alone. chosen: the input chooses among
    them, as among the rows of a table or among experts. sources: the weights it is computed from.
    numbers: for each element of a tensor in the storage the number of its weight among all weights,
    -1 where it has none; None where it is no weight. flows: the weights whose outputs it holds,
    changed only value by value or averaged.
    """

    constant: bool = True
    chosen: bool = False
    sources: frozenset[str] = frozenset()
    numbers: Numbers | None = None
    flows: frozenset[str] = frozenset()


class WeightReads(OperationMode):
    """Calls `on_read` for every read of a weight while it is active.

    weights: all matrices and kernels of the model by name. layers: names of the weights that
    modules own; they count as read where the other operand is a constant too, such as a learned
    query. inputs: the model's inputs. unknown: after the run, the weights that were combined with
    data in a way that is no known product. routes: which of them choose among others.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        layers: frozenset[str],
        inputs: Sequence[Tensor],
        on_read: Callable[[Read], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._layers = layers
        self._on_read = on_read
        self._kept_alive = (dict(weights), tuple(inputs))
        self._stored: dict[int, _Stored] = {}
        # While they exist, no other storage has the address of one that is stored.
        self._references: list[StorageWeakRef] = []
        self._starts: dict[str, int] = {}
        self._sizes = {name: weight.numel() for name, weight in weights.items()}
        self.lost = set[str]()
        self.read = set[str]()
        self.routes = Routes()
        start = 0
        by_storage: dict[int, list[str]] = {}
        for name, weight in weights.items():
            self._starts[name] = start
            start += weight.numel()
            if _plain(weight):
                by_storage.setdefault(storage(weight), []).append(name)
        for key, names in by_storage.items():
            numbers = self._numbers_of([weights[name] for name in names], names)
            self._stored[key] = _Stored(sources=frozenset(names), numbers=numbers)
        self._fixed = frozenset(by_storage)
        for tensor in filter(_plain, inputs):
            self._stored[storage(tensor)] = _Stored(constant=False)

    @property
    def unknown(self) -> set[str]:
        """The weights that were used, but in no known product."""
        return self.lost - self.read

    def flows(self, tensors: Sequence[Tensor]) -> frozenset[str]:
        """The weights whose outputs these tensors hold."""
        return _joined(self._of(t).flows for t in tensors if _plain(t))

    def _numbers_of(self, tensors: list[Tensor], names: list[str]) -> Numbers:
        own = tensors[0]
        if len(tensors) == 1 and own.is_contiguous():
            start = self._starts[names[0]] - own.storage_offset()
            return lambda view: _offsets(view) + start

        def numbers(view: Tensor) -> Tensor:
            size = own.untyped_storage().nbytes() // own.element_size()
            flat = torch.full((size,), -1)
            for name, tensor in zip(names, tensors, strict=True):
                number = torch.arange(tensor.numel()).view(tensor.shape) + self._starts[name]
                _at(flat, tensor).copy_(number)
            return _at(flat, view)

        return numbers

    def _of(self, tensor: Tensor) -> _Stored:
        return self._stored.get(storage(tensor), _Stored())

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if _is_composite(func):  # only for tensors of inference mode; autograd splits it before
            with self:
                return func.decompose(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        given = [t for t in tensors_in((args, kwargs)) if _plain(t)]
        made = [t for t in tensors_in(out) if _plain(t)]
        before = {storage(t): self._of(t) for t in given}
        operation = func.overloadpacket
        read = frozenset[str]()
        self.routes.note(operation, args, [before[storage(t)].flows for t in given])
        if operation in PRODUCTS:
            read = self._products(PRODUCTS[operation](args, out), out, before)
            flows = read
            if operation in SUMS and _plain(args[0]):
                flows |= before[storage(args[0])].flows
        elif operation in MIXING or func.namespace != "aten":  # such as quantised products
            flows = frozenset()
        else:
            flows = _joined(info.flows for info in before.values())
            self._note_lost(before)
        values = [t for t in given if t.is_floating_point() or operation not in CHOOSING]
        constant = not read and all(before[storage(t)].constant for t in values)
        chosen = any(info.chosen or not info.constant for info in before.values())
        self._note_made(func, args, made, before, _Stored(constant, chosen, flows=flows))
        return out

    def _products(
        self, products: Iterable[Product], out: Any, before: Mapping[int, _Stored]
    ) -> frozenset[str]:
        """Reports the reads among the products; the weights that were read."""
        read = set[str]()
        for product in products:
            own = before.get(storage(product.weight), _Stored())
            data = [before.get(storage(t), _Stored()) for t in product.data if _plain(t)]
            if own.constant and own.sources and self._reads(own, data):
                names = self._parts(product.weight, own)
                self.lost |= own.sources
                for name, share in names.items():
                    self._report(name, share, product, out, own)
                read |= names.keys()
                self.routes.note_read(names, _joined(info.flows for info in data))
        self.read |= read
        return frozenset(read)

    def _reads(self, own: _Stored, data: Sequence[_Stored]) -> bool:
        if not all(info.constant for info in data):
            return True
        if own.chosen or any(info.chosen for info in data):  # a row that is chosen is data
            return not own.chosen
        others = _joined(info.sources for info in data) & self._layers
        return bool(own.sources & self._layers) and not others

    def _parts(self, weight: Tensor, info: _Stored) -> dict[str, float]:
        """The weights whose elements the operand holds, and their shares of it."""
        if info.numbers is None:
            return {}
        if len(info.sources) == 1:
            return dict.fromkeys(info.sources, 1.0)
        numbers = info.numbers(weight)
        inside = {
            name: ((numbers >= start) & (numbers < start + self._sizes[name])).double().mean()
            for name in info.sources
            for start in [self._starts[name]]
        }
        return {name: float(share) for name, share in inside.items() if share > 0}

    def _report(self, name: str, share: float, product: Product, out: Any, info: _Stored) -> None:
        def places() -> tuple[Tensor, Tensor]:
            assert info.numbers is not None
            numbers = info.numbers(product.weight) - self._starts[name]
            return numbers, (numbers >= 0) & (numbers < self._sizes[name])

        first = self._first(name, product.weight)
        self._on_read(Read(name, round(share * product.macs), product, out, first, places))

    def _first(self, name: str, view: Tensor) -> int | None:
        """The number of a view's first element in the flat weight; None where it is no view."""
        own = self._kept_alive[0][name]
        alone = own.is_contiguous() and own.untyped_storage().nbytes() == own.nbytes
        return int(view.storage_offset()) if alone and storage(own) == storage(view) else None

    def _note_lost(self, before: Mapping[int, _Stored]) -> None:
        """Notes weights that meet data outside a known product."""
        if all(info.constant for info in before.values()):
            return
        for info in before.values():
            if info.constant:
                self.lost |= info.sources

    def _note_made(
        self,
        func: Any,
        args: tuple[Any, ...],
        made: Sequence[Tensor],
        before: Mapping[int, _Stored],
        known: _Stored,
    ) -> None:
        """known: of the results, without sources and numbers."""
        if known.constant:
            known = replace(known, sources=_joined(info.sources for info in before.values()))
        for tensor in made:
            key = storage(tensor)
            if key not in before:
                self._references.append(StorageWeakRef(tensor.untyped_storage()))
                numbers = _moved(func, args, tensor, before) if known.sources else None
                self._stored[key] = replace(known, numbers=numbers)
            elif func._schema.is_mutable and key not in self._fixed:
                self._stored[key] = replace(known)


@cache
def _is_composite(func: Any) -> bool:
    """Is the operation made of others?"""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def _moved(
    func: Any, args: tuple[Any, ...], out: Tensor, before: Mapping[int, _Stored]
) -> Numbers | None:
    """The numbers of a new storage, where the weights' elements keep or only change places."""

    def numbers_of(tensor: Tensor) -> Tensor:
        numbers = before[storage(tensor)].numbers if _plain(tensor) else None
        if numbers is not None:
            return numbers(tensor)
        return torch.full(tensor.shape, -1) if func.overloadpacket in JOINS else tensor

    if func.overloadpacket in MOVES:
        return _laid_out(lambda: func(*tree_map_only(Tensor, numbers_of, args)), out)
    same = [
        tensor
        for tensor in tensors_in(args)
        if _plain(tensor) and before[storage(tensor)].numbers and tensor.shape == out.shape
    ]
    if len(same) != 1:  # a sum of two weights belongs to neither
        return None
    return _laid_out(lambda: numbers_of(same[0]), out)


def _laid_out(numbers: Callable[[], Tensor], like: Tensor) -> Numbers:
    """The numbers of the elements of `like`, for any tensor in its storage."""

    def shown(view: Tensor) -> Tensor:
        flat = torch.full((like.untyped_storage().nbytes() // like.element_size(),), -1)
        _at(flat, like).copy_(numbers())
        return _at(flat, view)

    return shown


def _offsets(view: Tensor) -> Tensor:
    """For each element its place in the storage."""
    places = torch.full((), view.storage_offset())
    for size, step in zip(view.shape, view.stride(), strict=True):
        places = places[..., None] + torch.arange(size) * step
    return places


def _at(flat: Tensor, like: Tensor) -> Tensor:
    """The part of a storage's numbers that a tensor with this storage shows."""
    return flat.as_strided(like.shape, like.stride(), like.storage_offset())


def _plain(tensor: Tensor) -> bool:
    """Has it a storage of its own kind, as all but sparse, nested and other special tensors?"""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided


def _joined(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)

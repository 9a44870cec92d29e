"""Proves couplings: removes irregular subsets of channels and compares what layers read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.coupling.assemble import Roots
from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.dependent_masks import dead_without_rows, dependent_on_rows
from pruning_core.model.coupling.first_run import NotedStep
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.repeated_run import MARK, Comparison, Repeated, StepsDiffer
from pruning_core.model.inventory import stored
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.types import Layer, PruningError

NOT_ZERO = (
    "Removed channels would still have a value: something adds to them that no mask sets to zero."
)
CHANGES_OTHERS = "Removing some of its channels would change channels that stay."
NOT_REPEATED = "The network takes other steps without some of its channels."
Rows = dict[str, Tensor]
"""The removed rows of each layer, True = removed."""
SUBSETS = 3
"""Random subsets of channels that every coupling is proved with."""


@dataclass(frozen=True, eq=False)
class Proof:
    """Runs a copy of a network without subsets of its channels.

    work: the copy, which changes during a run; model: the network itself, whose values are put
    back; root: of numbers; starts: the first number of each layer's rows; computed: layers that
    multiply by a function of their weight; forward: runs the copy on the example and gives the
    output's tensors.
    """

    work: nn.Module
    model: nn.Module
    layers: tuple[Layer, ...]
    steps: dict[int, NotedStep]
    names: dict[int, str]
    root: Roots
    starts: Mapping[str, int]
    computed: set[str]
    forward: Callable[[], list[Tensor]]
    budget: Budget

    def proved(self, known: Sequence[Coupling]) -> tuple[Coupling, ...]:
        """The couplings; those that cannot be proved have a reason."""
        nothing = torch.zeros(len(self.root.of), dtype=torch.bool)
        dense = self._run(nothing, None)
        if dense is None:
            return tuple(
                replace(coupling, reason=coupling.reason or NOT_REPEATED) for coupling in known
            )
        made = list(known)
        for seed in range(SUBSETS):
            noisy = self._run(nothing, None, noise=seed) if seed else dense
            usable = noisy is not None and all(
                bool(x.isfinite().all()) for x in noisy[1][0].read.values()
            )
            made = self._passing(made, seed, noisy if usable else dense)
        return tuple(made)

    def _passing(self, known: list[Coupling], seed: int, dense: Any) -> list[Coupling]:
        """The couplings, with reasons so that all others pass together."""
        result = self._without(known, range(len(known)), seed, dense)
        if result is not None and result[0].not_zero:
            roots = set(self.root.of[sorted(result[0].not_zero)].tolist())
            known = [
                replace(coupling, reason=NOT_ZERO)
                if coupling.reason is None and roots & set(self._roots(coupling).tolist())
                else coupling
                for coupling in known
            ]
            result = self._without(known, range(len(known)), seed, dense)
        if result is None or not result[0].passed:
            known = [self._alone(known, index, seed, dense) for index in range(len(known))]
            result = self._without(known, range(len(known)), seed, dense)
        if result is None or not result[0].passed:
            known = [
                replace(coupling, reason=coupling.reason or CHANGES_OTHERS) for coupling in known
            ]
        return known

    def _alone(
        self, known: Sequence[Coupling], index: int, seed: int, dense: tuple[Comparison, Any]
    ) -> Coupling:
        """The coupling, with a reason if removing a subset of its channels alone does not pass."""
        coupling = known[index]
        if coupling.reason is not None:
            return coupling
        result = self._without(known, [index], seed, dense)
        if result is None:
            return replace(coupling, reason=NOT_REPEATED)
        if result[0].not_zero:
            return replace(coupling, reason=NOT_ZERO)
        return coupling if result[0].passed else replace(coupling, reason=CHANGES_OTHERS)

    def _without(
        self, known: Sequence[Coupling], chosen: Sequence[int], seed: int, dense: Any
    ) -> tuple[Comparison, Any] | None:
        """The comparison without a random subset of the channels of the chosen couplings."""
        rng = torch.Generator().manual_seed(seed)
        removed: Rows = {}
        numbers = torch.zeros(len(self.root.of), dtype=torch.bool)
        for index, coupling in enumerate(known):
            subset = irregular(coupling.channels, rng)
            if coupling.reason is None and index in chosen:
                removed |= rows_without(coupling, subset, self.layers)
                numbers[self._roots(coupling)[subset]] = True
        if not removed:
            return dense  # type: ignore[no-any-return]
        edited = self._edit(removed, known, whole=seed == 0)
        try:
            return self._run(numbers[self.root.of] & (self.root.of > 0), dense[1])
        finally:
            self._restore(edited)

    def _roots(self, coupling: Coupling) -> Tensor:
        """The root of each channel of a coupling."""
        made = torch.zeros(coupling.channels, dtype=torch.long)
        for member in coupling.members:
            made[member.channels] = self.root.of[self.starts[member.parameter] + member.positions]
        return made

    @torch.no_grad()
    def _edit(self, removed: Rows, known: Sequence[Coupling], *, whole: bool) -> list[str]:
        """Zeroes what depends on removed channels, and gives the names of changed parameters.

        Steps give their first results, so weights matter only where they are computed from others.
        whole: all weights lose their rows, and hold MARK where they read only removed channels.
        """
        dead = dead_without_rows(self.work, self.layers, removed, known) if whole else {}
        for name, keep in dead.items():
            _parameter(self.work, name).masked_fill_(~keep, MARK)
        rows = {name: removed[name] for name in removed if whole or name in self.computed}
        by_name = {layer.name: layer for layer in self.layers}
        for name, empty in rows.items():
            layer = by_name[name]
            places = stored(empty[:, None, None, None].expand(layer.shape), layer)
            _parameter(self.work, name).masked_fill_(places, 0)
        dependent = dependent_on_rows(self.work, self.layers, removed, known)
        for name, keep in dependent.items():
            _parameter(self.work, name).masked_fill_(~keep, 0)
        return [*dead, *rows, *dependent]

    @torch.no_grad()
    def _restore(self, names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            _parameter(self.work, name).copy_(_parameter(self.model, name))

    def _run(
        self,
        removed: Tensor,
        expected: tuple[Repeated, list[Tensor]] | None,
        noise: int = 0,
    ) -> tuple[Comparison, Any] | None:
        """One run and its comparison with the expected one; None where its steps differ."""
        before = expected[0] if expected else None
        noise = before.noise if before else noise
        repeated = Repeated(self.steps, self.names, removed, self.budget, before, noise)
        try:
            with torch.no_grad(), repeated, PlainKernels():
                outputs = self.forward()
        except PruningError:
            raise
        except (StepsDiffer, RuntimeError, LookupError, ValueError, TypeError, AttributeError):
            return None
        if repeated.met != self.steps.keys():
            return None
        if expected is not None:
            same = len(outputs) == len(expected[1]) and all(
                one.shape == other.shape
                and torch.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)
                for one, other in zip(outputs, expected[1], strict=True)
            )
            repeated.result.elsewhere |= not same
        return repeated.result, (repeated, outputs)


def _parameter(model: nn.Module, name: str) -> Tensor:
    """A parameter by name. Those of a TorchScript module are no nn.Parameter."""
    path, _, last = name.rpartition(".")
    parameter: Tensor = getattr(model.get_submodule(path), last)
    return parameter


def irregular(channels: int, rng: torch.Generator) -> Tensor:
    """A random subset of channels, True = removed: at least one, and not all of two or more."""
    subset = torch.rand(channels, generator=rng) < 0.4
    order = torch.randperm(channels, generator=rng)
    subset[order[0]] = True
    if channels > 1:
        subset[order[1]] = False
    return subset


def rows_without(coupling: Coupling, subset: Tensor, layers: Sequence[Layer]) -> Rows:
    """The rows of all members, True = removed, without a subset of a coupling's channels."""
    size = {layer.name: layer.shape[0] for layer in layers}
    rows = {}
    for member in coupling.members:
        rows[member.parameter] = torch.zeros(size[member.parameter], dtype=torch.bool)
        rows[member.parameter][member.positions[subset[member.channels]]] = True
    return rows

"""Separates experts, which a router chooses, from matrices that are only stored together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import torch

aten = torch.ops.aten
CHOICES = {aten._softmax, aten.topk, aten.sort, aten.argsort, aten.max, aten.argmax}
"""Operations that compare the scores of a choice along their argument `dim`."""
Names = frozenset[str]
Link = tuple[str, str]


@dataclass(eq=False)
class Routes:
    """Choices among the outputs of a weight, and what they met, noted while a model runs.

    choices: (weight, number of its outputs that are compared). events: in order, two sets of
    weights: those whose outputs one operand holds, and those of the other operand, or (True) those
    that the operation reads.
    """

    choices: set[tuple[str, int]] = field(default_factory=set)
    events: dict[tuple[Names, Names], bool] = field(default_factory=dict)

    def note(self, operation: Any, args: Sequence[Any], flows: Sequence[Names]) -> None:
        """Notes an operation. flows: of each operand, the weights whose outputs it holds."""
        if operation in CHOICES and flows and args[0].ndim:
            dim = next((place for place in args[1:] if isinstance(place, int)), -1)
            dim = dim if operation is not aten.topk else (*args[2:3], -1)[0]
            self.choices |= {(name, args[0].shape[dim]) for name in flows[0]}
        if self.choices:
            pairs = permutations(dict.fromkeys(filter(None, flows)), 2)
            self.events |= dict.fromkeys(pairs, False)

    def note_read(self, names: Iterable[str], flows: Names) -> None:
        """Notes the weights that a product reads, and the flows of what they are multiplied by."""
        if flows:
            self.events[flows, frozenset(names)] = True

    def experts(self, stacks: Mapping[str, int]) -> Names:
        """Those of the stacked matrices that are experts. stacks: parameter -> number of matrices.

        A router has one output per expert, and compares them (softmax, top-k). Its choice selects
        or scales what the experts read, or scales what they give. The other layer of an expert
        reads their outputs alone, or gives them what they read.
        """
        router_of: dict[str, str] = {}
        links: list[Link] = []
        for (choice, met), read in self.events.items():
            if not met <= stacks.keys():
                continue
            done = {router_of.get(name, "") for name in choice}
            for router, size in self.choices:
                if router in choice and router not in done:
                    same = [name for name in met if stacks[name] == size]
                    router_of = dict.fromkeys(same, router) | router_of
            links += self._links(choice, met, stacks) if read else []
            _spread(links, router_of)
        return frozenset(router_of)

    def _links(self, flows: Names, read: Names, stacks: Mapping[str, int]) -> list[Link]:
        """Pairs of as many matrices, of which the second reads outputs of stacks alone."""
        before = flows - {router for router, _ in self.choices}
        if not before <= stacks.keys():
            return []
        return [(a, b) for a in before for b in read if stacks[a] == stacks[b]]


def _spread(links: Sequence[Link], router_of: dict[str, str]) -> None:
    """Gives both of a link the router of one."""
    for pair in [*links, *reversed(links)]:
        for own, other in (pair, pair[::-1]):
            if own in router_of:
                router_of.setdefault(other, router_of[own])

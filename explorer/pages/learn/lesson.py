"""What a lesson is: a figure that depends on one control, and the texts and the link beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from torch import Tensor

from explorer.session import cache
from explorer.session.url import write
from explorer.texts.lessons import Words
from pruning_core.model.inventory import weights
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a lesson shows at one position of its control.

    figure: a chart, or HTML. values: what the lesson's texts name, by its place in them.
    correct: the number of the right answer. opens: the parameters of the real page's address.
    """

    figure: go.Figure | str
    values: Mapping[str, object]
    correct: int
    opens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """One lesson. Its texts are under its name in the tables of `explorer/texts/lessons`.

    positions: of the one control; start: the first position shown; label: a position as text.
    page: the path of the page that `Drawn.opens` belongs to. terms: of the glossary.
    wide: the figure has the whole width, and the texts are below it.
    """

    icon: str
    draw: Callable[[Any, Words], Drawn]
    positions: Sequence[Any]
    start: Any
    label: Callable[[Any, Words], str]
    page: str
    terms: tuple[str, ...]
    wide: bool = False


def network() -> Workspace:
    """The network that the app opens with: all lessons show it."""
    plan = Plan()
    return cache.workspace(plan.model, plan.dataset)


def layer_of(name: str) -> Layer:
    """The layer of that name in the lessons' network."""
    return next(layer for layer in network().layers if layer.name == name)


def weight_of(name: str) -> Tensor:
    """Its weights, O x I x H x W."""
    return weights(network().model, (layer_of(name),))[name]


def address(plan: Plan, layer: str | None = None, **own: str) -> dict[str, str]:
    """The parameters of a page's address. own: of the page itself."""
    shown = {"sparsity": str(plan.sparsity)} | write(plan) | own
    return shown | ({"layer": layer} if layer else {})

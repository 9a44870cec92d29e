"""Lesson 3: single weights against whole filters, at one sparsity, by four numbers."""

from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.palette import KEPT, PRUNED_MODEL
from explorer.charts.style import finish, patterned, whiskers
from explorer.pages.learn.lesson import Drawn, address, network
from explorer.session import cache
from explorer.texts.formats import percent
from explorer.texts.lessons import Words
from pruning_core.compress.storage_sizes import computed_sizes, dense_stored, smallest_stored
from pruning_core.compress.thin_sizes import thinned_bytes
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.types import PruningError

SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
KINDS = {"fine": (KEPT, ""), "filter": (PRUNED_MODEL, "/")}
"""Granularity -> colour and pattern of its bars."""
NUMBERS = ("accuracy", "parameters", "bytes", "macs")


@dataclass(frozen=True)
class Numbers:
    """What pruning gave, each as a fraction; the last three of the dense network's number.

    accuracy: on n validation images, without training, measured; interval: its 95% interval.
    parameters: that are not zero; bytes: of the smallest sparse format, or of the narrower network;
    macs: multiply-adds that a dense library computes. These are computed.
    """

    accuracy: float
    interval: tuple[float, float]
    n: int
    parameters: float
    bytes: float
    macs: float


def plan_of(kind: str, sparsity: float) -> Plan:
    return Plan(granularity=kind, sparsity=sparsity, tied=granularity(kind).ties_layers)


def numbers(kind: str, sparsity: float) -> Numbers:
    """The four numbers of one granularity."""
    space = network()
    plan = plan_of(kind, sparsity)
    masks = cache.masks(plan, space)
    report = cache.report(plan, space)
    model = cache.pruned_model(plan, space)
    sizes = computed_sizes(model, space.layers, masks, granularity(kind))
    smallest = smallest_stored(sizes).bytes
    macs = report.macs
    left = report.nonzeros
    if kind == "filter":
        thin = thinned_bytes(model, space, masks)
        if thin is None or report.thinned_macs is None or report.thinned_nonzeros is None:
            raise PruningError("The narrower network of this lesson cannot be computed.")
        smallest = thin
        macs = report.thinned_macs
        left = report.thinned_nonzeros
    measured = cache.accuracy(plan, space)
    return Numbers(
        measured.value,
        measured.interval,
        measured.n,
        left / report.parameters,
        smallest / dense_stored(sizes),
        macs / report.macs,
    )


def _cached(kind: str, sparsity: float) -> Numbers:
    def make() -> Numbers:
        return numbers(kind, sparsity)

    return cache.cached_detail(make, network(), "lesson structured", kind, sparsity)


def draw(sparsity: float, words: Words) -> Drawn:
    """A pair of bars for each number."""
    shown = {kind: _cached(kind, sparsity) for kind in KINDS}
    values = {
        f"{kind}_{name}": percent(getattr(shown[kind], name), 0)
        for kind in KINDS
        for name in NUMBERS
    }
    values["sparsity"] = percent(sparsity)
    figure = finish(_bars(shown, words), words("alt", **values), 430, "structured")
    figure.update_layout(margin_t=60)
    return Drawn(figure, values, 1, address(plan_of("filter", sparsity)))


def _bars(shown: dict[str, Numbers], words: Words) -> go.Figure:
    titles = [words(f"{name}_title", n=shown["fine"].n) for name in NUMBERS]
    figure = make_subplots(1, len(NUMBERS), shared_yaxes=True, subplot_titles=titles)
    for column, name in enumerate(NUMBERS, 1):
        for kind, (colour, pattern) in KINDS.items():
            share = getattr(shown[kind], name)
            low, high = shown[kind].interval if name == "accuracy" else (share, share)
            figure.add_bar(
                x=[words(kind)],
                y=[100 * share],
                error_y=whiskers(
                    [(share, low, high)],
                    100,
                    thickness=2,
                    color=colour,
                    visible=name == "accuracy",
                ),
                marker=patterned(colour, pattern),
                hovertemplate="%{x}: %{y:.1f}%<extra></extra>",
                row=1,
                col=column,
            )
            figure.add_scatter(
                x=[words(kind)],
                y=[100 * high],
                text=[f"<b>{percent(share, 0)}</b>"],
                mode="text",
                textposition="top center",
                textfont_color=colour,
                hoverinfo="skip",
                row=1,
                col=column,
            )
    figure.update_layout(showlegend=False, bargap=0.35)
    figure.update_yaxes(range=[0, 112], tickvals=[0, 25, 50, 75, 100], ticksuffix="%")
    figure.update_annotations(font_size=14)
    return figure

"""Dropout and DropConnect on one layer: other weights go in every pass, and one pass frozen is random pruning."""

import streamlit as st

from explorer import cache
from explorer.close_ups import Multiple, corner, drawn_size, mask_picture
from explorer.contact_sheet import Bar, Card, Shot, sheet
from explorer.raster import mask_png
from explorer.text import HELP, interval, percent
from explorer.views.multiples import CARD, CELL, PIXELS, pictured
from pruning_core.coupling import silenced
from pruning_core.dropout import REGULARISERS, frozen
from pruning_core.granularity import granularity
from pruning_core.masks import achieved, apply_masks
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.train import evaluate
from pruning_core.types import Evaluation, Layer

SHOWN = 4
"""Passes side by side."""
SHAPES = {"dropout": "filter", "dropconnect": "fine"}


def dropout_view(plan: Plan, space: Workspace, layer: Layer, _refusal: str | None) -> None:
    """Draws the masks of some passes. Raises PruningError where the layer's outputs cannot be dropped."""
    kind, chance, first = st.columns(3, vertical_alignment="bottom")
    names = {name: how.label for name, how in REGULARISERS.items()}
    name = kind.selectbox("What is dropped", tuple(names), format_func=names.__getitem__, key="drop_kind", help=HELP["dropping"])
    rate = chance.slider("Chance to be dropped", 0.0, 0.9, 0.5, 0.05, key="drop_rate")
    start = int(first.number_input("First pass", 1, 9997, key="drop_pass"))
    found = cache.close_up(
        lambda: tuple(_pass(plan, space, layer, name, rate, number) for number in range(start, start + SHOWN)),
        "dropout", plan.model, plan.dataset, layer.name, plan.probe, name, rate, start,
    )  # fmt: skip
    dense = cache.dense_accuracy(plan, space)
    how = REGULARISERS[name]
    st.markdown(f"**{how.label}: {how.formula}**")
    st.caption(
        f"{how.help} In training each pass has a mask of its own and what is left is scaled up by 1 / (1 - p), so that the mean "
        f"stays; nothing is smaller or faster afterwards. Accuracy: the trained network with that one sample frozen as a mask, "
        f"unscaled, which is random pruning of this layer; {dense.n:,} validation images, mark and 95% band, "
        f"dotted line: dense, {100 * dense.top1:.1f}%. Pictures: {pictured(layer)}; blue stays, grey and hatched goes."
    )
    st.html(sheet([_card(layer, each, start + at, dense) for at, each in enumerate(found)], width=CARD))


def _pass(plan: Plan, space: Workspace, layer: Layer, name: str, rate: float, number: int) -> Multiple:
    masks, (f, c) = frozen(name, (layer,), rate, number), corner(layer)
    quiet = silenced(space.model, space.layers, masks) if name == "dropout" else {}
    score = evaluate(
        apply_masks(space.model, masks, space.layers, quiet), cache.probe(plan, space), outputs=space.dataset.outputs
    )
    kept = masks[layer.name][:f, :c].numpy().copy()
    return Multiple(granularity(SHAPES[name]), kept, achieved(masks)[layer.name], score)


def _card(layer: Layer, found: Multiple, number: int, dense: Evaluation) -> Card:
    tiles, kept = mask_picture(layer, found.granularity, found.kept)
    size = drawn_size(layer, PIXELS, CELL)
    alt = f"Mask of {layer.name} in pass {number}: {percent(found.achieved)} of its weights dropped."
    score = found.evaluation
    lines = (
        f"{100 * score.top1:.1f}% right",
        f"95%: {interval(score)}, n = {score.n:,}",
        f"{percent(found.achieved)} of its weights dropped",
    )
    bar = Bar(score.top1, *score.interval, dense.top1)
    return Card(f"Pass {number}", lines, (Shot(mask_png(tiles, kept, size), alt, *size, smooth=True),), bar)

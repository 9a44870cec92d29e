"""A layer's activations for one image, dense and pruned: feature maps, attention maps, outputs."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from explorer.charts import alt, robust_limit, unit_bars
from explorer.charts.contact_sheet import Card, Shot, sheet
from explorer.charts.raster import map_png, removed_png
from explorer.pages.explore.image_panel import chosen_image, has_images
from explorer.pages.explore.layer_details import Maps, maps, removed_filters
from explorer.session import cache, state
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, in_a_row
from pruning_core.plan import Plan
from pruning_core.types import Inputs, Layer
from pruning_core.workspaces import Workspace

PAGE = 24
"""Maps, or outputs, that are shown at first and with every "show more"."""
PIXELS = 96
WIDE_PIXELS = 208
"""Sides of a drawn map: of one channel, of one attention head."""
KINDS = {
    "conv": (
        N_("Channel {at}"),
        N_("Feature maps, channel by channel"),
        "feature_maps",
        N_("{shown} of {total:,} channels shown."),
    ),
    "linear": (
        N_("Output {at}"),
        N_("Outputs over the image"),
        "unit_maps",
        N_("{shown} of {total:,} outputs shown."),
    ),
    "attention": (
        N_("Head {at}"),
        N_("Attention maps, head by head"),
        "attention_maps",
        N_("{shown} of {total:,} heads shown."),
    ),
}
"""Kind of layer -> the name of one map, the title, the term of its help, and how many are shown."""
NO_IMAGES = N_("The samples of this data are no images, so there are no maps to show.")
CHANGE = N_("Change: ‖pruned − dense‖ / ‖dense‖ over the map, 0% is none; the most changed first.")


def feature_maps_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the maps of the base model beside those of the plan's pruned model, for one image."""
    if not has_images(plan, space):
        st.caption(_(NO_IMAGES))
        return
    image = chosen_image(plan, space)
    st.caption(_("Validation image {image}, which is chosen beside the mask lab.", image=image))
    side = WIDE_PIXELS if layer.fused else PIXELS
    pair = cache.cached_detail(
        lambda: maps(
            space.model, cache.pruned_model(plan, space), layer, _ready(plan, space, image), side
        ),
        space,
        "maps",
        cache.repair_key(plan),
        plan.probe,
        layer.name,
        image,
    )
    if pair.places == (1, 1):
        _units(space, layer, pair)
    else:
        mask = None if refusal or layer.fused else cache.masks(plan, space)[layer.name]
        _maps(layer, pair, side, removed_filters(mask, len(pair.change)))


def _ready(plan: Plan, space: Workspace, image: int) -> Inputs:
    return next(iter(cache.probe(plan, space).subset([image]).batches(1)))[0]


def _maps(layer: Layer, pair: Maps, side: int, removed: np.ndarray) -> None:
    """The pairs of maps, most changed first, all on one scale."""
    signed = not layer.fused
    count = len(pair.change)
    limit = (
        robust_limit(pair.dense, pair.pruned)
        if signed
        else float(max(pair.dense.max(), pair.pruned.max()))
    )
    kind = "attention" if layer.fused else "linear" if layer.linear else "conv"
    one, name, term, more = KINDS[kind]
    st.markdown(f"**{_(name)}**", help=HELP[term])
    st.caption(in_a_row((pair.note, _(CHANGE), _averaged(pair))))
    _scale(limit, signed=signed)
    order = _order(pair.change)
    shown = order[: _shown(layer)]
    cards = [
        _card(_(one, at=at), pair, int(at), limit, side, signed=signed, removed=bool(removed[at]))
        for at in shown
    ]
    st.html(sheet(cards, width=2 * side + 40))
    _more(layer, count, more)


def _card(
    title: str, pair: Maps, at: int, limit: float, side: int, *, signed: bool, removed: bool
) -> Card:
    rows, cols = pair.places
    scale = side / max(rows, cols)
    width = max(4, round(cols * scale))
    height = max(4, round(rows * scale))
    pruned = (
        removed_png(width, height)
        if removed and not pair.pruned[at].any()
        else map_png(pair.pruned[at], limit, signed=signed)
    )
    pictures = (
        (_("dense"), map_png(pair.dense[at], limit, signed=signed)),
        (_("pruned"), pruned),
    )
    shots = tuple(
        Shot(picture, f"{title}, {name}", width, height, name) for name, picture in pictures
    )
    return Card(
        title,
        (_("change {share}", share=_change(float(pair.change[at]))),),
        shots,
        tag=_("filter removed") if removed else "",
    )


def _change(value: float) -> str:
    return percent(value) if np.isfinite(value) else _("from zero")


def _averaged(pair: Maps) -> str:
    rows, cols = pair.places
    return (
        ""
        if pair.dense.shape[1:] == (rows, cols)
        else _("Maps of {rows} × {cols} are averaged for the picture.", rows=rows, cols=cols)
    )


def _scale(limit: float, *, signed: bool) -> None:
    """The colour scale of all pictures, with its ends."""
    low = -limit if signed else 0.0
    ramp = np.linspace(low, limit, 160)[None].repeat(10, axis=0)
    ends = {"low": f"{low:.3g}", "high": f"{limit:.3g}"}
    alt = _("Colour scale from {low} to {high}", **ends)
    shot = Shot(map_png(ramp, limit, signed=signed), alt, 160, 10)
    row = st.container(horizontal=True, vertical_alignment="center")
    row.image(shot.png, width=160, alt=shot.alt)
    row.caption(
        _("{low} to {high}, 0 is near white; one scale for all pictures here.", **ends)
        if signed
        else _("{low} to {high}, 0 is white; one scale for all pictures here.", **ends)
    )


def _order(change: Sequence[float] | np.ndarray) -> np.ndarray:
    """The most changed first; equal ones keep their order."""
    return np.argsort(-np.asarray(change), kind="stable")


def _units(space: Workspace, layer: Layer, pair: Maps) -> None:
    """Outputs that are single numbers, as bars, sorted by their difference.

    A relative change of a number near zero would mean little.
    """
    dense = pair.dense.ravel()
    pruned = pair.pruned.ravel()
    classes = space.dataset.classes
    names = (
        list(classes)
        if layer.is_output and len(classes) == len(dense)
        else [_("unit {at}", at=at) for at in range(len(dense))]
    )
    order = _order(np.abs(pruned - dense))[: _shown(layer)]
    st.markdown("**" + _("Outputs") + "**", help=HELP["units"])
    st.caption(_("Before any activation. Sorted by |pruned − dense|, the largest first."))
    figure = unit_bars([names[at] for at in order], dense[order], pruned[order])
    st.plotly_chart(figure, key="units", config={"displayModeBar": False}, alt=alt(figure))
    _more(layer, len(dense), KINDS["linear"][-1])


def _shown(layer: Layer) -> int:
    name, count = state.stored("maps_shown", (layer.name, PAGE))
    return int(count) if name == layer.name else PAGE


def _more(layer: Layer, total: int, words: str) -> None:
    """A button for more. words: how many are shown, with places."""
    shown = min(_shown(layer), total)
    if shown < total:
        st.button(
            _("Show {n} more", n=min(PAGE, total - shown)),
            key="more_maps",
            icon=":material/expand_more:",
            on_click=state.store,
            args=("maps_shown", (layer.name, shown + PAGE)),
        )
        st.caption(_(words, shown=shown, total=total))

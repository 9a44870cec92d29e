"""Dropout and DropConnect on one layer: the weights that single passes drop.

One pass, frozen as a mask, is random pruning.
"""

from functools import partial

import streamlit as st

from explorer.charts.contact_sheet import Card, Shot, bar_of, sheet
from explorer.charts.raster import mask_png
from explorer.pages.explore.granularity_panel import CARD, CELL, PIXELS, pictured
from explorer.pages.explore.layer_details import GranularityMask, corner, drawn_size, mask_picture
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import interval, percent, title
from explorer.texts.help import HELP
from explorer.texts.task_words import band_words, value_words
from explorer.texts.translate import N_, _, from_core
from pruning_core.dropout import REGULARISERS, as_plan, frozen_masks
from pruning_core.evaluation.accuracy import Judge
from pruning_core.granularity import granularity, supports
from pruning_core.masks import achieved
from pruning_core.pipeline import masked_copy
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Layer
from pruning_core.workspaces import Workspace

SHOWN = 4
"""How many passes are shown."""
CAPTION = N_(
    "{help} In training, each pass has its own mask, and kept values are multiplied by "
    "1 / (1 - p), so that the mean is the same. The network is not smaller or faster "
    "afterwards. {value}: the trained network with this one sample frozen as a "
    "mask, without that factor, which is random pruning of this layer alone; "
    "{n:,} probe {samples}, {band}Pictures: {part}; blue is kept, grey and hatched is removed."
)
"""band: a whole sentence, or nothing."""


def dropout_panel(plan: Plan, space: Workspace, layer: Layer, _refusal: str | None) -> None:
    """Draws the masks of some passes, or a note where the layer's outputs cannot be dropped."""
    name, rate, start = _choices()
    reason = supports(granularity(REGULARISERS[name].granularity), layer)
    if reason is not None:
        st.info(plain(reason), icon=":material/info:")
        return
    samples = cache.cached_detail(
        lambda: tuple(
            _pass(plan, space, layer, name, rate, number) for number in range(start, start + SHOWN)
        ),
        space,
        "dropout",
        plan.model,
        plan.dataset,
        layer.name,
        plan.probe,
        name,
        rate,
        start,
    )
    dense = cache.dense_accuracy(plan, space)
    how = REGULARISERS[name]
    st.markdown(f"**{from_core(how.label)}: {how.formula}**")
    st.caption(
        _(
            CAPTION,
            help=from_core(how.help),
            value=title(dense.task),
            n=dense.n,
            samples=from_core(dense.task.samples),
            band=band_words(dense),
            part=pictured(layer),
        )
    )
    places = st.grid(SHOWN, min_column_width=CARD)
    for number, sample in enumerate(samples, start):
        with places.cell():
            st.html(sheet([_card(layer, sample, number, dense)], width=CARD))
            _freeze_button(name, layer, rate, number, number - start)


def _choices() -> tuple[str, float, int]:
    """The regulariser, its rate, and the number of the first pass."""
    kind, chance, first = st.columns(3, vertical_alignment="bottom")
    names = {name: from_core(how.label) for name, how in REGULARISERS.items()}
    for key in ("drop_kind", "drop_rate", "drop_pass"):
        state.keep_widget(key)
    name = kind.selectbox(
        _("What is dropped"),
        tuple(names),
        format_func=names.__getitem__,
        key="drop_kind",
        help=HELP["dropping"],
    )
    rate = chance.slider(_("Probability of dropping"), 0.0, 0.9, 0.5, 0.05, key="drop_rate")
    return name, rate, int(first.number_input(_("First pass"), 1, 9997, key="drop_pass"))


def _freeze_button(name: str, layer: Layer, rate: float, number: int, place: int) -> None:
    """A button that makes the sample the plan's mask, or says that it is."""
    now = state.plan()
    done = as_plan(now, name, layer, rate, number) == now
    st.button(
        _("This is the plan's mask") if done else _("Freeze this sample as a mask"),
        key=f"freeze_{place}",
        width="stretch",
        icon=":material/check:" if done else ":material/ac_unit:",
        disabled=done,
        help=HELP["freeze"].format(
            granularity=from_core(granularity(REGULARISERS[name].granularity).label), number=number
        ),
        on_click=partial(_freeze, name, layer, rate, number),
    )


def _freeze(name: str, layer: Layer, rate: float, number: int) -> None:
    """Changes the plan and draws the whole page again."""
    state.set_plan(as_plan(state.plan(), name, layer, rate, number))
    st.rerun()


def _pass(
    plan: Plan, space: Workspace, layer: Layer, name: str, rate: float, number: int
) -> GranularityMask:
    masks = frozen_masks(name, (layer,), rate, number)
    (f, c) = corner(layer)
    alone = masked_copy(as_plan(plan, name, layer, rate, number), space, masks)
    score = Judge.of(space.dataset).evaluate(alone, cache.probe(plan, space))
    kept = masks[layer.name][:f, :c].numpy().copy()
    return GranularityMask(
        granularity(REGULARISERS[name].granularity), kept, achieved(masks)[layer.name], score
    )


def _card(layer: Layer, sample: GranularityMask, number: int, dense: Evaluation) -> Card:
    tiles, kept = mask_picture(layer, sample.granularity, sample.kept)
    size = drawn_size(layer, PIXELS, CELL)
    share = percent(sample.achieved)
    alt = _(
        "Mask of {layer} in pass {number}: {share} of its weights dropped.",
        layer=layer.name,
        number=number,
        share=share,
    )
    score = sample.evaluation
    lines = (
        value_words(score),
        f"95%: {interval(score)}, n = {score.n:,}",
        _("{share} of its weights dropped", share=share),
    )
    bar = bar_of(score, dense)
    shot = Shot(mask_png(tiles, kept, size), alt, *size, smooth=True)
    return Card(_("Pass {number}", number=number), lines, (shot,), bar)

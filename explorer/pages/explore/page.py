"""The Explore page: accuracy, sparsity, every layer, and one layer's weights and mask."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.pages.explore.first_steps import first_steps
from explorer.pages.explore.folded import folded
from explorer.pages.explore.how_far import how_far_panel
from explorer.pages.explore.image_panel import answers, has_images, image_chooser
from explorer.pages.explore.layer_panel import layer_lab, layer_panel
from explorer.pages.explore.layer_table import draw_layer_table, fixed_parameters
from explorer.pages.explore.look_closer import look_closer
from explorer.pages.explore.network_map_panel import network_map_panel
from explorer.pages.explore.own_lesson import FORM as OWN_LESSON
from explorer.pages.explore.own_lesson import own_lesson_form, show_own_lesson
from explorer.pages.explore.repaired import repaired_caption, repaired_place
from explorer.pages.explore.tied_caption import tied_caption
from explorer.pages.explore.whole_network import KEY as WHOLE_NETWORK
from explorer.pages.explore.whole_network import whole_network_panel
from explorer.session import cache, state
from explorer.session.kept import keep_button, keep_button_changes
from explorer.session.kernel_threads import beside
from explorer.session.notices import plain, show_errors
from explorer.session.page_body import Body, is_alone, page_body, part
from explorer.session.sent_together import sent_together
from explorer.session.shown_layer import shown_layer
from explorer.session.url import address_of
from explorer.texts.formats import change_text, count, interval, percent, title, value_text
from explorer.texts.glossary_links import with_one_link
from explorer.texts.help import HELP
from explorer.texts.task_words import (
    change_words,
    delta_color,
    extras_text,
    for_task,
    interval_help,
    paired_help,
    value_help,
)
from explorer.texts.translate import N_, _, from_core
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.tasks import change as changed
from pruning_core.types import Evaluation, Layer, PruningError, Report
from pruning_core.workspaces import Workspace

GUIDE = N_("""
**The numbers on top** show what the choices in the side bar do to the whole network: how many
images it still classifies correctly, and how much of it is kept. *Measured* numbers come from
running the pruned network; *computed* ones from counting.

**The network** is drawn from the image to the classes. Each box is a layer with weights to prune;
its filled part is the share that is kept. Click a box to choose the layer. Repeated blocks are
folded until you click them. **The table** below has the same layers as numbers.

**Weights, group scores and mask** draw the chosen layer: one small tile per kernel, filters
downwards, input channels across. Violet is positive, orange is negative, pale is near zero; grey
and hatched is removed. Wide gaps separate the groups: choose another *granularity* in the side bar
to see other groups. Drag *Remove* and the picture follows at once; release it, and accuracy is
measured again. Click a group to keep or prune it by hand, whatever its score; *Undo* reverts that.
The address contains all of it.

**The histogram** shows the decision: every group has a score, and the lowest are removed. The
dashed line is the threshold.

**Look closer** compares all granularities on this layer at the same ratio, shows the layer's
activations for an image before and after pruning (feature maps, attention), and ranks each filter
by every criterion.

Nothing is trained here: *Fine-tune & compare* shows how much accuracy returns.
""")

NEARLY_ALL = 0.9
"""A share of all weights. Where less can be pruned, the card says how much."""
PANELS = "panels"
"""The part that shows ratios and sparsity."""


class Measured(NamedTuple):
    """Where what is measured is drawn."""

    value: DeltaGenerator
    image: DeltaGenerator | None
    repaired: DeltaGenerator | None


def _measure(plan: Plan, space: Workspace) -> Evaluation:
    """The value of the pruned network, or of the dense one where nothing can be pruned."""
    measure = cache.accuracy if cache.prunable(plan, space)[0] else cache.dense_accuracy
    return measure(plan, space)


def _more_is_shown() -> bool:
    """Does more than `PANELS` show the ratios at the moment?"""
    opened = ("how_far", WHOLE_NETWORK, "closer", OWN_LESSON)
    return keep_button_changes() or any(state.widget_value(key, None) for key in opened)


@page_body(Body(PANELS, _more_is_shown))
def render(plan: Plan, space: Workspace) -> None:
    """Draws the page: first what no image is needed for, while the value is measured."""
    measured = beside(_measure, plan, space)
    prunable, reasons = cache.prunable(plan, space)
    task = space.dataset.task
    show_own_lesson()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="first_line"):
        first_steps(task)
        if prunable:
            keep_button(plan, space)
    top, network, layer = (st.container() for _place in range(3))
    closer = st.container(key="look_closer")
    with st.container(key="below_look_closer"):
        heading, table, rest = (st.container() for _place in range(3))
    with top:
        places = _panels(plan, space, layer, table)
    with network:
        how_far_panel(plan, space)
        if prunable:
            whole_network_panel(plan, space)
    with closer:
        look_closer(plan, space)
    with heading:
        _heading(plan, space, reasons)
    with rest:
        _rest(space)
    now = measured.result()
    if places is not None:
        _show_measured(places, plan, space, now)


def _heading(plan: Plan, space: Workspace, reasons: Mapping[str, str]) -> None:
    """Draws the heading of the table of layers."""
    layer = shown_layer(plan, space)
    if layer.name not in reasons:
        tied_caption(plan, space, layer)
    st.subheader(_("All layers"), anchor=False)


def _rest(space: Workspace) -> None:
    """Draws what follows the table of layers."""
    fixed_parameters(space)
    if guide := folded(_("What do I see?"), "guide", ":material/help:"):
        guide.markdown(for_task(GUIDE, space.dataset.task))
    own_lesson_form(address_of(state.plan(), state.selected_layer()))


@part(PANELS)
def _panels(plan: Plan, space: Workspace, layer: DeltaGenerator, table: DeltaGenerator) -> Measured:
    """Draws the numbers, the map and the lab, the layer's panel, and the table of layers.

    Alone it draws the measured value too. It is measured last: beside the drawing, which is short,
    both would wait for Python's lock at each small step. layer, table: places below.
    """
    with _sent_together_alone():
        places = _top(plan, space)
        with layer, show_errors():
            layer_panel(plan, space)
        with table, show_errors():
            draw_layer_table(plan, space)
    if is_alone():
        _show_measured(places, plan, space, _measure(plan, space))
    return places


def _top(plan: Plan, space: Workspace) -> Measured:
    """Draws the numbers, the map, and the lab."""
    prunable, reasons = cache.prunable(plan, space)
    cells = _cells()
    report = _report(plan, space, prunable)
    layer = shown_layer(plan, space)
    _counts(cells[1:], plan, space, report)
    network_map_panel(plan, space, report, layer.name)
    repaired = repaired_place(plan, space)
    lab, image = _lab_and_image(plan, space)
    with lab:
        layer_lab(plan, space, layer, reasons.get(layer.name))
    return Measured(cells[0], image, repaired)


def _show_measured(places: Measured, plan: Plan, space: Workspace, now: Evaluation) -> None:
    pruned = bool(cache.prunable(plan, space)[0])
    with _sent_together_alone():
        _accuracy(places.value, plan, space, now, pruned=pruned)
        if places.image is not None:
            with places.image:
                answers(plan, space, now)
    if pruned and places.repaired is not None:
        repaired_caption(places.repaired, plan, space)


def _sent_together_alone() -> AbstractContextManager[None]:
    """The elements of a part that is drawn alone are sent together.

    In a run of the whole page, the thread of "Look closer" sends elements meanwhile.
    """
    return sent_together() if is_alone() else nullcontext()


def _cells() -> list[DeltaGenerator]:
    """Containers for the four numbers; they keep their place while accuracy is measured."""
    # page.css places them. Each of Streamlit's own grids costs the browser milliseconds per change.
    row = st.container(key="numbers")
    return [
        row.container(border=True, height="stretch", gap="xsmall", key=f"number_{at}")
        for at in range(4)
    ]


def _lab_and_image(plan: Plan, space: Workspace) -> tuple[DeltaGenerator, DeltaGenerator | None]:
    """Places for the mask lab and for the answers to one image; only the lab without images."""
    if not has_images(plan, space):
        return st.container(), None
    row = st.container(key="lab_row").container(key="lab_and_image")
    lab = row.container(key="lab_side")
    with row.container(key="image_side"):
        return lab, image_chooser(plan, space)


def _report(plan: Plan, space: Workspace, prunable: tuple[Layer, ...]) -> Report | None:
    """The counts; None, with a warning, where the plan can prune no layer."""
    if prunable:
        return cache.report(plan, space)
    try:
        cache.groups(plan, space)
    except PruningError as problem:
        st.warning(plain(str(problem)), icon=":material/block:")
    return None


def _accuracy(
    place: DeltaGenerator, plan: Plan, space: Workspace, now: Evaluation, *, pruned: bool
) -> None:
    """The measured value, and its change against the dense network."""
    task = space.dataset.task
    dense = cache.dense_accuracy(plan, space)
    difference = changed(dense, now)
    place.metric(
        _("{value} · measured", value=title(task)),
        value_text(now.value, task),
        change_words(now.value - dense.value, task),
        delta_color=delta_color(difference, task),
        delta_description=_("from {value} dense", value=value_text(dense.value, task)),
        help=with_one_link(value_help(task), interval_help(task)),
    )
    low, high = (change_text(end, task) for end in difference.interval)
    words = _(
        "{n:,} probe {samples}; 95%: {interval}",
        n=now.n,
        samples=from_core(task.samples),
        interval=interval(now),
    )
    ends = _("; change: {low} to {high}", low=low, high=high) if pruned else ""
    place.caption(words + ends + extras_text(now), help=paired_help(task))


def _counts(
    places: list[DeltaGenerator], plan: Plan, space: Workspace, report: Report | None
) -> None:
    """Sparsity, nonzeros and multiply-adds; all computed."""
    counts = report or cache.dense_report(space)
    _number(
        places[0],
        _("Weights removed · computed"),
        percent(counts.sparsity_model),
        _requested(plan, space, report),
        "removed",
        _removed_words(plan, space, counts),
    )
    dense = count(counts.dense_bytes)
    caption = _(
        "{share} left; {size} dense",
        share=percent(counts.nonzeros / counts.parameters),
        size=f"{dense}B" if dense[-1].isalpha() else f"{dense} B",
    )
    _number(
        places[1],
        _("Parameters left · computed"),
        count(counts.nonzeros),
        _("of {total}", total=count(counts.parameters)),
        "nonzeros",
        caption + _thinned(counts.thinned_nonzeros),
    )
    caption = _(
        "{share} left, for one {sample}",
        share=percent(counts.macs_effective / counts.macs),
        sample=for_task("image", space.dataset.task),
    )
    _number(
        places[2],
        _("MACs left · computed"),
        count(counts.macs_effective),
        _("of {total}", total=count(counts.macs)),
        "macs",
        caption + _thinned(counts.thinned_macs),
    )


def _removed_words(plan: Plan, space: Workspace, counts: Report) -> str:
    """The share of the prunable weights that is removed, and how few they are, if so."""
    removed = percent(counts.sparsity_masked)
    prunable = sum(layer.numel for layer in cache.prunable(plan, space)[0]) / counts.parameters
    if not 0 < prunable < NEARLY_ALL:
        return _("{share} of the prunable weights", share=removed)
    return _(
        "{share} of the prunable weights, which are {part} of all",
        share=removed,
        part=percent(prunable),
    )


def _thinned(left: int | None) -> str:
    """The nonzeros, or their multiply-adds, that a thinned network keeps, where that is known."""
    return "" if left is None else _("; {n} not zero in a thinned network", n=count(left))


def _number(
    place: DeltaGenerator, label: str, value: str, beside: str, term: str, caption: str
) -> None:
    place.metric(label, value, beside, delta_color="off", delta_arrow="off", help=HELP[term])
    place.caption(caption)


def _requested(plan: Plan, space: Workspace, report: Report | None) -> str:
    """The requested sparsity: of the slider, of N:M, or of the ratios set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    if report is None:
        return _("nothing can be pruned")
    if (share := cache.requested_by_hand(plan, space)) is not None:
        return _("requested {share} by hand", share=percent(share))
    return _("requested {share}", share=percent(plan.sparsity if fixed is None else fixed))

"""Explore: what pruning does, at a glance: accuracy, sparsity, every layer, and one layer's weights
and mask.
"""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.pages.explore.layer_panel import layer_panel
from explorer.pages.explore.layer_table import fixed_parameters, layer_table
from explorer.pages.explore.network_map_panel import network_map_panel
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import count, interval, percent
from explorer.texts.help import HELP, LEAD
from pruning_core.evaluation.intervals import change as changed
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.types import Layer, PruningError, Report
from pruning_core.workspace import Workspace

GUIDE = """
**The numbers on top** say what the choices in the side bar do to the whole network: how many images it still gets right, and how
much of it is left. *Measured* numbers come from running the pruned network just now, *computed* ones from counting.

**The network** is drawn from the image to the classes: a box per layer with weights to prune, filled as far as it is kept. Click
one to look inside; blocks that repeat are folded until you click them. **The table** at the end has the same layers as numbers.

**Weights, group scores and mask** draw that layer: one small tile per kernel, filters downwards, input channels across. Violet is
positive, orange negative, pale near zero; grey and hatched is removed. Wide gaps separate the groups that are cut as one: choose
another *shape of a cut* in the side bar and watch them move. Drag *Remove* and the picture follows at once; let go, and accuracy
is measured again. Click a group to keep or prune it by hand, whatever its score; *Undo* takes it back. The address has it all.

**The histogram** is the decision itself: every group has a score, the lowest go, the dashed line is where the cut falls.

**Look closer** compares all shapes of a cut on this layer at the same share, shows what the layer makes of an image before and
after pruning (feature maps, attention), and ranks each filter by every criterion.

Nothing is re-trained here: *Fine-tune & compare* shows how much accuracy comes back.
"""


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.subheader(LEAD, anchor=False)
    cells = _cells()
    able, reasons = cache.prunable(plan, space)
    report = _report(plan, space, able)
    layer = _chosen(space, able)
    _counts(cells[1:], plan, space, report)
    network_map_panel(plan, space, report, layer.name)
    layer_panel(plan, space, layer, reasons.get(layer.name))
    st.subheader("All layers", anchor=False)
    layer_table(plan, space, report, reasons, layer.name)
    fixed_parameters(space)
    with st.expander("What do I see?", icon=":material/help:"):
        st.markdown(GUIDE)
    _accuracy(cells[0], plan, space, cut=bool(able))


def _cells() -> list[DeltaGenerator]:
    """Places for the four numbers, so that nothing moves when the slow one arrives."""
    grid = st.grid(4, min_column_width=200)
    return [grid.container(border=True, height="stretch") for _ in range(4)]


def _report(plan: Plan, space: Workspace, able: tuple[Layer, ...]) -> Report | None:
    """The counts, or None with the sentence why nothing can be cut."""
    if able:
        return cache.report(plan, space)
    try:
        cache.groups(plan, space)
    except PruningError as problem:
        st.warning(plain(str(problem)), icon=":material/block:")
    return None


def _chosen(space: Workspace, able: tuple[Layer, ...]) -> Layer:
    """The layer looked at; at first one that has kernels to see, near the input."""
    known = {layer.name: layer for layer in space.layers}
    if (name := state.selected_layer()) in known:
        return known[name]
    return next((layer for layer in able if min(layer.shape[:2]) > 1), (able or space.layers)[0])


def _accuracy(place: DeltaGenerator, plan: Plan, space: Workspace, *, cut: bool) -> None:
    """The one number that takes a while: it is measured."""
    dense = cache.dense_accuracy(plan, space)
    now = cache.accuracy(plan, space) if cut else dense
    change = 100 * (now.top1 - dense.top1)
    place.metric(
        "Accuracy · measured",
        f"{100 * now.top1:.1f}%",
        f"{change:+.1f} points" if abs(change) >= 0.05 else 0,
        delta_description=f"from {100 * dense.top1:.1f}% dense",
        help=f"{HELP['accuracy']}\n\n{HELP['interval']}",
    )
    low, high = (100 * end for end in changed(dense, now, cache.probe(plan, space).labels).interval)
    ends = f"; change: {low:+.1f} to {high:+.1f}" if cut else ""
    place.caption(f"{now.n:,} validation images; 95%: {interval(now)}{ends}", help=HELP["paired"])


def _counts(
    places: list[DeltaGenerator], plan: Plan, space: Workspace, report: Report | None
) -> None:
    """Sparsity, nonzeros and multiply-adds; all computed, none measured."""
    found = report or cache.dense_report(space)
    removed = percent(found.sparsity_masked)
    kept = percent(found.nonzeros / found.parameters)
    caption = f"{percent(found.sparsity_model)} of the whole network"
    _number(
        places[0],
        "Weights removed · computed",
        removed,
        _asked(plan, space, report),
        "achieved",
        caption,
    )
    caption = f"{kept}; {count(found.dense_bytes)}B if stored densely" + _thinned(
        found.thinned_parameters
    )
    beside = f"of {count(found.parameters)}"
    _number(
        places[1], "Parameters left · computed", count(found.nonzeros), beside, "nonzeros", caption
    )
    caption = f"{percent(found.macs_effective / found.macs)} of the work per image" + _thinned(
        found.thinned_macs
    )
    _number(
        places[2],
        "MACs left · computed",
        count(found.macs_effective),
        f"of {count(found.macs)}",
        "macs",
        caption,
    )


def _thinned(left: int | None) -> str:
    """What would be left without the weights that only read removed channels, where it is known."""
    return "" if left is None else f"; {count(left)} in a thinned network"


def _number(
    place: DeltaGenerator, label: str, value: str, beside: str, term: str, caption: str
) -> None:
    place.metric(label, value, beside, delta_color="off", delta_arrow="off", help=HELP[term])
    place.caption(caption)


def _asked(plan: Plan, space: Workspace, report: Report | None) -> str:
    """The sparsity that was asked for: by the slider, by N:M, or by the shares set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    if report is None:
        return "nothing can be cut"
    if (share := cache.requested_by_hand(plan, space)) is not None:
        return f"shares ask for {percent(share)}"
    return f"asked for {percent(plan.sparsity if fixed is None else fixed)}"

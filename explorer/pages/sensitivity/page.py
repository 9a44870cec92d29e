"""Sensitivity: which layers can be cut deeply, and which hurt at once?"""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from explorer.charts import alt, preview_curves, sensitivity_curves
from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress, clock
from explorer.pages.sensitivity.ratios_panel import slice_section, slow_note, target_section
from explorer.pages.sensitivity.run import (
    PRESETS,
    ScanRequest,
    equally_ranked,
    request,
    scan_events,
    scanned_plan,
)
from explorer.session import cache, state
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.plan_words import differences
from explorer.training.status import active_job, asked_for, ended, note_lost
from pruning_core.granularity import granularity
from pruning_core.model.coupling.positions import Coupling
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import Preview
from pruning_core.sensitivity.preview_bands import BAND_COLUMNS, Band, bands_csv
from pruning_core.sensitivity.scan import COLUMNS, to_csv
from pruning_core.types import Layer, PruningError, SensitivityPoint
from pruning_core.workspace import Workspace

KIND = "scan"
REFRESH = 1.0
BANDED = "Bands, of the highlighted layer or the 8 whose curves fall deepest"
OWN = "Own choice"
ALL = "all layers"
LEAD = "Cut one layer at a time, leave all others whole, and measure: layers differ widely in how much they can lose."
EMPTY = """
**No curves yet.** Press *Scan*: each layer in turn is cut at every sparsity of the grid and the network is measured on the probe
images. A layer whose curve stays flat can lose much; one whose curve falls early should be spared. From the curves this page then
makes ratios per layer that cost every layer equally. Nothing is trained, and the network itself is not changed. *Preview*
estimates the curves in about a tenth of the time.

A reload finds the scan again. A minute after the app's last tab in this browser was closed, the scan is stopped and its curves
are forgotten: what you downloaded stays.
"""
CAVEAT = (
    "One layer at a time: what happens when several layers are cut *together* is not in these curves. "
    "Damage adds up, and layers can make up for each other, so measure the whole plan in the end."
)
FULL_ONLY = "A preview ranks nothing: which layer hurts most, and ratios for a target, are computed from a full scan only. Press *Scan*."


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(LEAD)
    able, reasons = cache.prunable(plan, space)
    if not able:
        cache.groups(plan, space)
    found = cache.jobs().snapshots(state.owner(), KIND)
    active = bool(found) and found[0].active
    _controls(plan, space, able, found)
    st.fragment(_live, run_every=REFRESH if active else None)(plan, space, active)
    scan = _shown()
    if scan is None or active:
        return
    _fine_print(scan, reasons)
    points = _points(scan)
    asked = asked_for(scan, ScanRequest)
    if asked.preview:
        st.info(FULL_ONLY, icon=":material/monitoring:")
        return
    slice_section(points, asked)
    current = scanned_plan(asked.plan) == scanned_plan(plan)
    target_section(
        plan,
        space,
        able,
        points,
        "" if current and scan.status == "done" else _why_not(scan.status),
    )


def _controls(
    plan: Plan, space: Workspace, able: tuple[Layer, ...], found: tuple[Snapshot, ...]
) -> None:
    """The grid, and what can be started."""
    fixed = granularity(plan.granularity).fixed_ratio
    with st.container(horizontal=True, vertical_alignment="bottom"):
        preset = st.selectbox(
            "Grid",
            (*PRESETS, OWN),
            index=1,
            key="grid",
            bind="query-params",
            width=190,
            help=HELP["grid"],
            disabled=fixed is not None,
        )
        chosen = PRESETS.get(preset, ())
        if preset == OWN:
            chosen = tuple(
                st.multiselect(
                    "Sparsities, %",
                    range(5, 101, 5),
                    default=PRESETS["Quick"],
                    key="grid_values",
                    bind="query-params",
                    width=420,
                    help=HELP["grid_values"],
                )
            )
        asked = request(plan, able, chosen, _tied(plan, space)) if able else None
        wanted = _buttons(asked, found)
    if asked is not None and len(asked.grid) < 2:
        st.caption("Choose at least one sparsity.")
    elif asked is not None:
        n = min(plan.probe, len(space.dataset.val))
        st.caption(
            _size(asked, n)
            if fixed is None
            else f"{granularity(plan.granularity).label} has one ratio of its own: "
            f"each layer is measured whole and at {percent(fixed)}. {_size(asked, n)}"
        )
    if wanted is not None:
        title = "Sensitivity preview" if wanted.preview else "Sensitivity scan"
        with show_errors():
            cache.jobs().start(
                state.owner(), KIND, title, lambda: scan_events(wanted, space), wanted
            )
            st.rerun()


def _buttons(asked: ScanRequest | None, found: tuple[Snapshot, ...]) -> ScanRequest | None:
    """What was pressed; a preview of what is already scanned has nothing to add."""
    off = any(scan.active for scan in found[:1]) or asked is None or len(asked.grid) < 2
    again = any(not asked_for(scan, ScanRequest).preview for scan in found)
    if st.button(
        "Scan again" if again else "Scan",
        type="secondary" if again else "primary",
        key="scan_start",
        icon=":material/monitoring:",
        help=HELP["scan"],
        disabled=off,
    ):
        return asked
    known = asked is not None and any(
        scan.status == "done" and equally_ranked(asked_for(scan, ScanRequest), asked)
        for scan in found[:1]
    )
    if st.button(
        "Preview",
        key="preview_start",
        icon=":material/speed:",
        help=HELP["preview"],
        disabled=off or known,
    ):
        return asked and replace(asked, preview=True)
    return None


def _size(asked: ScanRequest, n: int) -> str:
    layers = f"{len(asked.layers)} layers" + (
        f" in {asked.cuts} cuts" if asked.cuts < len(asked.layers) else ""
    )
    return f"{layers} × {len(asked.grid) - 1} sparsities: at most {asked.measurements} measurements on {n:,} images each."


def _tied(plan: Plan, space: Workspace) -> tuple[Coupling, ...] | None:
    """The couplings to cut by, None where each layer is to be cut alone; asked only where whole
    filters go.
    """
    if not granularity(plan.granularity).ties_layers:
        return None
    couplings, untraced = space.tied
    on = st.toggle(
        "Tied layers together",
        value=True,
        key="tied",
        bind="query-params",
        help=HELP["tied"],
        disabled=bool(untraced),
    )
    if untraced:
        st.caption(f"Each layer alone: {plain(untraced)}")
    return couplings if on and not untraced else None


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Progress and curves; runs again by itself while the scan goes on."""
    with show_errors():
        found = cache.jobs().snapshots(state.owner(), KIND)
        if was_active and not (found and found[0].active):
            st.rerun()
        if found:
            _status(found[0])
        scan = _shown()
        if scan is None:
            if not found:
                note_lost(KIND)
                st.info(EMPTY, icon=":material/monitoring:")
            return
        _curves(plan, space, scan)


def _status(scan: Snapshot) -> None:
    """One line about the newest scan or preview: how far, or how it ended."""
    asked = asked_for(scan, ScanRequest)
    share, far, at = _progress(scan)
    if scan.active:
        left = scan.seconds / share * (1 - share) if share else None
        active_job(
            scan,
            Progress(share, left, at),
            "scan_stop",
            "Stops within a measurement; what was measured stays.",
        )
        return
    how = (
        " Layers whose channels are tied were cut together and share a curve." if asked.tied else ""
    )
    done = f"{'Previewed' if asked.preview else 'Scanned'} {len(asked.layers)} layers in {clock(scan.seconds)}.{how}"
    ended(
        scan,
        "preview" if asked.preview else "scan",
        f" after {far}; what was measured stays.",
        done,
    )


def _progress(scan: Snapshot) -> tuple[float, str, str]:
    """The share that is done, how far that is, and what is being measured."""
    asked = asked_for(scan, ScanRequest)
    done = len(_points(scan))
    if asked.preview:
        found = _preview(scan)
        if found is None:
            return 0.0, "no evaluation", "Preview: the dense network"
        far = f"{found.evaluations:,} evaluations ({percent(found.evaluation_share)} of the full scan's)"
        return found.progress, far, f"Preview: {far}"
    at = min(done // len(asked.grid), len(asked.layers) - 1)
    far = f"{done // len(asked.grid)} of {len(asked.layers)} layers"
    return done / asked.total, far, f"Layer {at + 1} of {len(asked.layers)}: {asked.layers[at]}"


def _curves(plan: Plan, space: Workspace, scan: Snapshot) -> None:
    """The curves, for which plan they are, and how they are to be read."""
    then = scanned_plan(asked_for(scan, ScanRequest).plan)
    now = scanned_plan(plan)
    if changed := differences(then, now):
        st.warning(
            f"These curves are for another plan: {'; '.join(changed)}. *Scan again* measures the present one.",
            icon=":material/history:",
        )
    if (found := _preview(scan)) is not None:
        _estimated(found)
    else:
        _scanned(_points(scan), None if changed else _ratios(plan, space))


def _scanned(points: tuple[SensitivityPoint, ...], chosen: dict[str, float] | None) -> None:
    """The measured curves. chosen: the present plan's ratios, None where the curves are for another
    plan.
    """
    with st.container(horizontal=True):
        measure = st.segmented_control(
            "Measure",
            ("Accuracy", "Loss"),
            default="Accuracy",
            required=True,
            key="measure",
            bind="query-params",
            help=HELP["measure"],
        )
        focus = _focus(points)
    dense = next(point for point in points if point.sparsity == 0)
    key = "loss" if measure == "Loss" else "top1"
    figure = sensitivity_curves(points, getattr(dense, key), chosen or {}, focus=focus, measure=key)
    st.plotly_chart(
        figure, key="sensitivity_curves", alt=alt(figure), config={"displayModeBar": False}
    )
    low, high = dense.interval
    st.caption(
        f"Measured on {dense.n:,} probe images; dashed line: the dense network, {percent(dense.top1)} "
        f"(95% interval {100 * low:.1f} to {100 * high:.1f}%). {BANDED}: 95% interval of the *change* on the same images; a drop "
        "is sure where its band leaves the dashed line. Hollow marks: nothing could be removed. "
        + ("" if chosen is None else "Circles: each layer's ratio in the present plan. ")
        + CAVEAT
    )


def _estimated(found: Preview) -> None:
    """A preview's curves with their bands."""
    dense = next(band for band in found.bands if band.sparsity == 0)
    figure = preview_curves(found.bands, dense.top1, focus=_focus(found.bands))
    st.plotly_chart(figure, key="preview_curves", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        f"Estimated from {found.evaluations:,} of {found.full_evaluations:,} evaluations ({percent(found.evaluation_share)}), about "
        f"{percent(found.work)} of the full scan's work. {BANDED}: the full scan's curve should lie inside the band at 90% of "
        "points or more. Dashed line: the dense network, measured. Hollow marks: "
        f"estimated from some of the {dense.n:,} probe images, or from the neighbouring points; the tooltip says from how many. "
        "Crosses: nothing could be removed."
    )
    slow_note(found.bands)


def _focus(points: Sequence[SensitivityPoint | Band]) -> str | None:
    """The layer whose curve is to stand out, None for all."""
    names = list(dict.fromkeys(point.parameter for point in points))
    state.set_widget(
        "highlight", state.selected_layer() if state.selected_layer() in names else ALL
    )
    focus = st.selectbox(
        "Highlight",
        (ALL, *names),
        key="highlight",
        width=280,
        help=HELP["highlight"],
        on_change=_highlighted,
    )
    return None if focus == ALL else focus


def _highlighted() -> None:
    name = state.widget_value("highlight", ALL)
    state.select_layer(None if name == ALL else name)
    state.write_address()  # a fragment runs alone, without app.py's write_address


def _ratios(plan: Plan, space: Workspace) -> dict[str, float]:
    """The plan's ratio of each layer, or none where the plan cannot be carried out; the Explore
    page then says why.
    """
    try:
        return cache.ratios(plan, space)
    except PruningError:
        return {}


def _fine_print(scan: Snapshot, reasons: dict[str, str]) -> None:
    """Download, and the layers that were not scanned."""
    found = _preview(scan)
    points = _points(scan)
    name, head = ("preview.csv", BAND_COLUMNS) if found else ("sensitivity.csv", COLUMNS)
    st.download_button(
        "Curves as CSV",
        lambda: bands_csv(found.bands) if found else to_csv(points),
        name,
        "text/csv",
        key="scan_csv",
        icon=":material/download:",
        on_click="ignore",
        help=f"A row per point: {', '.join(head)}.",
    )
    if reasons:
        how_many = "1 layer is" if len(reasons) == 1 else f"{len(reasons)} layers are"
        with st.expander(f"{how_many} not prunable here", icon=":material/block:"):
            st.dataframe(
                [{"Layer": name, "Why": why} for name, why in reasons.items()],
                hide_index=True,
                alt="Layers that this plan cannot cut, with the reason.",
            )


def _why_not(status: str) -> str:
    if status != "done":
        return "The scan is not complete: ratios for a target need every layer's curve. Scan again."
    return "The curves are for another plan: scan again before you make ratios from them."


def measured_for(plan: Plan) -> tuple[SensitivityPoint, ...]:
    """The points of the newest scan, as far as they are measured; none where they are for another
    plan, or estimated.
    """
    scan = next(
        (scan for scan in cache.jobs().snapshots(state.owner(), KIND) if _points(scan)), None
    )
    return (
        _points(scan)
        if scan is not None
        and scanned_plan(asked_for(scan, ScanRequest).plan) == scanned_plan(plan)
        else ()
    )


def _shown() -> Snapshot | None:
    """The newest scan or preview that has measured something."""
    return next(
        (
            scan
            for scan in cache.jobs().snapshots(state.owner(), KIND)
            if _points(scan) or _preview(scan)
        ),
        None,
    )


def _points(scan: Snapshot) -> tuple[SensitivityPoint, ...]:
    return tuple(event for event in scan.events if isinstance(event, SensitivityPoint))


def _preview(scan: Snapshot) -> Preview | None:
    """How far a preview has come."""
    return next((event for event in reversed(scan.events) if isinstance(event, Preview)), None)

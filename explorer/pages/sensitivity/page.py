"""The Sensitivity page: how much accuracy does each layer lose when it alone is pruned?"""

from collections.abc import Sequence

import streamlit as st

from explorer.charts import alt, preview_curves, sensitivity_curves
from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress, clock
from explorer.limits import limits
from explorer.pages.sensitivity.form import continue_scans, scan_form
from explorer.pages.sensitivity.ratios_panel import slice_section, slow_note, target_section
from explorer.pages.sensitivity.run import ScanRequest, scanned_plan
from explorer.pages.sensitivity.scans import (
    KIND,
    newest_with_results,
    points_of,
    preview_of,
    progress_of,
    scans,
)
from explorer.session import cache, state
from explorer.session.address_choice import address_choice
from explorer.session.foldable import foldable
from explorer.session.kept import keeping_note
from explorer.session.notices import show_errors
from explorer.texts.formats import interval_words, percent, title, value_text
from explorer.texts.help import HELP
from explorer.texts.plan_words import differences
from explorer.texts.task_words import for_task, loss_help
from explorer.texts.translate import N_, _, from_core, n_
from explorer.training.interrupted import after_a_stop
from explorer.training.status import REFRESH_SECONDS, active_job, asked_for, ended, note_lost
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import Preview
from pruning_core.sensitivity.preview_bands import BAND_COLUMNS, Band, bands_csv
from pruning_core.sensitivity.scan import COLUMNS, to_csv
from pruning_core.tasks import CLASSIFICATION
from pruning_core.types import PruningError, SensitivityPoint
from pruning_core.workspaces import Workspace

VALUE = N_("Accuracy")
"""The choice of the task's value in the address; it is shown by its own name."""
LOSS = N_("Loss")
BANDED = N_("Bands, of the highlighted layer or of the three steepest curves")
ALL = N_("all layers")
LEAD = N_(
    "Prune one layer at a time, keep all others dense, and measure. "
    "Layers differ widely in how much they can lose."
)
EMPTY = N_("""
**No curves yet.** Press *Scan*. Each layer in turn is pruned at every sparsity of the grid, and
the accuracy on the probe images is measured. A layer with a flat curve is not sensitive; a layer
whose curve falls early is sensitive. From the curves, this page makes a ratio for each layer.
Nothing is trained, and the network itself is not changed. *Preview* estimates the curves in about
a tenth of the time; for a small network it needs more.

A reload finds the scan again. {seconds} seconds after the last tab of this app in your browser is
closed, the scan stops. {stopped}
""")
CAVEAT = N_(
    "Each layer is pruned alone: these curves do not show what happens when several layers are "
    "pruned *together*. Losses add up, and other layers can compensate. Measure the whole plan."
)
FULL_ONLY = N_(
    "A preview does not rank the layers. The ranking and the ratios for a target need a full scan: "
    "press *Scan*."
)


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    prunable, reasons = cache.prunable(plan, space)
    if not prunable:
        cache.groups(plan, space)  # raises with the reason
    continue_scans()
    known = scans()
    active = bool(known) and known[0].active
    live = st.fragment(_live, run_every=REFRESH_SECONDS if active else None)
    if known:  # the result is first, and drawn first: the form below it would move
        live(plan, space, active)
    scan_form(plan, space, prunable, known)
    if not known:
        live(plan, space, active)
    scan = newest_with_results()
    if scan is None or active:
        return
    _download(scan)
    _not_prunable(reasons)
    asked = asked_for(scan, ScanRequest)
    if asked.preview:
        st.info(_(FULL_ONLY), icon=":material/monitoring:")
        return
    points = points_of(scan)
    slice_section(points, asked)
    current = scanned_plan(asked.plan) == scanned_plan(plan)
    obstacle = "" if current and scan.status == "done" else _obstacle(scan.status)
    target_section(plan, space, prunable, points, obstacle)


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Progress and curves; runs again by itself during a scan."""
    with show_errors():
        known = scans()
        if was_active and not (known and known[0].active):
            st.rerun()
        if known:
            _status(known[0])
        scan = newest_with_results()
        if scan is not None:
            _curves(plan, space, scan)
        elif not known:
            note_lost(KIND)
            empty = _(EMPTY, seconds=limits().grace, stopped=after_a_stop())
            st.info(for_task(empty, space.dataset.task), icon=":material/monitoring:")


def _status(scan: Snapshot) -> None:
    """One line about the newest scan or preview: its progress, or how it ended."""
    asked = asked_for(scan, ScanRequest)
    share, done, stage = progress_of(scan)
    if scan.active:
        left = scan.seconds / share * (1 - share) if share else None
        active_job(
            scan,
            Progress(share, left, stage),
            "scan_stop",
            _("Stops within one measurement. Measured points are kept."),
        )
        return
    keeping_note(scan.events)
    ended(
        scan,
        _("preview") if asked.preview else _("scan"),
        _(" after {done}; measured points are kept.", done=done),
        _done_words(asked, clock(scan.seconds)),
    )


def _done_words(asked: ScanRequest, time: str) -> str:
    """How long a finished scan or preview took."""
    words = (
        N_("Previewed {count} layers in {time}.")
        if asked.preview
        else N_("Scanned {count} layers in {time}.")
    )
    together = _(" Layers with tied channels were pruned together and share a curve.")
    return _(words, count=len(asked.layers), time=time) + (together if asked.tied else "")


def _curves(plan: Plan, space: Workspace, scan: Snapshot) -> None:
    """The curves, and a warning where they are for another plan."""
    scanned = scanned_plan(asked_for(scan, ScanRequest).plan)
    if changed := differences(scanned, scanned_plan(plan)):
        st.warning(
            _(
                "These curves are for another plan: {changes}. *Scan again* measures the present "
                "plan.",
                changes=_("; ").join(changed),
            ),
            icon=":material/history:",
        )
    if (preview := preview_of(scan)) is not None:
        _estimated(preview)
    else:
        ratios = None if changed else _ratios(plan, space)
        _measured(points_of(scan), ratios, asked_for(scan, ScanRequest).units)


def _measured(
    points: tuple[SensitivityPoint, ...], ratios: dict[str, float] | None, total: int
) -> None:
    """The measured curves. total: their number at the end of the scan.

    ratios: of the present plan, drawn on the curves; None where the curves are for another plan.
    """
    dense = next(point for point in points if point.sparsity == 0)
    task = dense.task
    with st.container(horizontal=True):
        measure = st.segmented_control(
            _("Measure"),
            (VALUE, LOSS),
            format_func=lambda choice: title(dense.task) if choice == VALUE else _(choice),
            required=True,
            help=HELP["measure"] if task.name == CLASSIFICATION.name else loss_help(task),
            **address_choice("measure", {VALUE: VALUE, LOSS: LOSS}, VALUE),
        )
        focus = _focus(points)
    key = "loss" if measure == LOSS else "value"
    figure = sensitivity_curves(
        points, getattr(dense, key), ratios or {}, focus=focus, measure=key, total=total
    )
    st.plotly_chart(
        figure, key="sensitivity_curves", alt=alt(figure), config={"displayModeBar": False}
    )
    st.caption(_how_measured(dense, circles=ratios is not None))


def _how_measured(dense: SensitivityPoint, *, circles: bool) -> str:
    """What the measured curves show. circles: they are drawn."""
    task = dense.task
    return _(
        "Measured on {n:,} probe {samples}. Dashed line: the dense network, {value} (95% interval "
        "{interval}). {banded}: 95% interval of the *change* on the same {samples}; a loss is more "
        "than chance where its band does not contain the dashed line. Hollow marks: nothing could "
        "be removed. {circles}{caveat}",
        n=dense.n,
        samples=from_core(task.samples),
        value=value_text(dense.value, task),
        interval=interval_words(dense.interval, task),
        banded=_(BANDED),
        circles=_("Circles: each layer's ratio in the present plan. ") if circles else "",
        caveat=_(CAVEAT),
    )


def _estimated(preview: Preview) -> None:
    """A preview's curves with their bands."""
    dense = next(band for band in preview.bands if band.sparsity == 0)
    figure = preview_curves(preview.bands, dense.value, focus=_focus(preview.bands))
    st.plotly_chart(figure, key="preview_curves", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        _(
            "Estimated from {evaluations:,} of {all:,} evaluations ({share}), about {work} of the "
            "full scan's work. {banded}: the full scan's curve should lie inside the band at 90% "
            "of points or more. Dashed line: the dense network, measured. Hollow marks: estimated "
            "from some of the {n:,} probe {samples}, or from neighbouring points; the tooltip says "
            "from how many. Crosses: nothing could be removed.",
            evaluations=preview.evaluations,
            all=preview.full_evaluations,
            share=percent(preview.evaluation_share),
            work=percent(preview.work),
            banded=_(BANDED),
            n=dense.n,
            samples=from_core(dense.task.samples),
        )
    )
    slow_note(preview.bands)


def _focus(points: Sequence[SensitivityPoint | Band]) -> str | None:
    """The layer with a highlighted curve; None for all."""
    names = list(dict.fromkeys(point.parameter for point in points))
    state.set_widget(
        "highlight", state.selected_layer() if state.selected_layer() in names else ALL
    )
    focus = st.selectbox(
        _("Highlight"),
        (ALL, *names),
        format_func=lambda name: _(name) if name == ALL else name,
        key="highlight",
        width=280,
        help=HELP["highlight"],
        on_change=_highlighted,
    )
    return None if focus == ALL else focus


def _highlighted() -> None:
    name = state.widget_value("highlight", ALL)
    state.select_layer(None if name == ALL else name)
    state.write_address()  # a fragment runs alone, without the app's own write_address


def _ratios(plan: Plan, space: Workspace) -> dict[str, float]:
    """The plan's ratio of each layer; none where the plan cannot be carried out.

    The Explore page then shows the reason.
    """
    try:
        return cache.ratios(plan, space)
    except PruningError:
        return {}


def _download(scan: Snapshot) -> None:
    """The curves as CSV."""
    preview = preview_of(scan)
    points = points_of(scan)
    name, columns = ("preview.csv", BAND_COLUMNS) if preview else ("sensitivity.csv", COLUMNS)
    st.download_button(
        _("Curves as CSV"),
        lambda: bands_csv(preview.bands) if preview else to_csv(points),
        name,
        "text/csv",
        key="scan_csv",
        icon=":material/download:",
        on_click="ignore",
        help=_("One row per point: {columns}.", columns=", ".join(columns)),
    )


def _not_prunable(reasons: dict[str, str]) -> None:
    """The layers that are not scanned, with the reason."""
    if not reasons:
        return
    heading = n_("{n} layer is not prunable here", "{n} layers are not prunable here", len(reasons))
    with foldable(heading, "not_prunable", ":material/block:"):
        st.dataframe(
            [{_("Layer"): name, _("Why"): from_core(why)} for name, why in reasons.items()],
            hide_index=True,
            alt=_("Layers that this plan cannot prune, with the reason."),
        )


def _obstacle(status: str) -> str:
    if status != "done":
        return _(
            "The scan is not complete: ratios for a target need every layer's curve. Scan again."
        )
    return _("The curves are for another plan: scan again before you make ratios from them.")

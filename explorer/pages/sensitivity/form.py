"""The grid of a scan, and its buttons."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from explorer.jobs.job import MakeEvents, Snapshot
from explorer.pages.sensitivity.run import (
    PRESETS,
    ScanRequest,
    request,
    request_of,
    same_work,
    scan_events,
    settings_of,
)
from explorer.pages.sensitivity.scans import KIND
from explorer.session import cache, state
from explorer.session.address_choice import address_choice
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from explorer.training.interrupted import (
    interrupted_runs,
    kept_on_disk,
    resumable,
    start_carried,
)
from explorer.training.status import asked_for
from pruning_core.granularity import granularity
from pruning_core.history import kept_scan, scan_record
from pruning_core.history.unfinished import Carried, Description
from pruning_core.model.coupling.positions import Coupling
from pruning_core.plan import Plan
from pruning_core.types import Layer, PruningError
from pruning_core.workspaces import Workspace

OWN = N_("Own choice")
INTERRUPTED = N_(
    "{title} was interrupted after {done:,} of {total:,} layers: the server or its process "
    "ended, or no page of it was open in your browser."
)


def scan_form(
    plan: Plan, space: Workspace, prunable: tuple[Layer, ...], scans: tuple[Snapshot, ...]
) -> None:
    """Draws the grid and the buttons, and starts what was pressed."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        grid = _grid(plan)
        asked = request(plan, prunable, grid, _couplings(plan, space)) if prunable else None
        pressed = _buttons(asked, scans)
    if asked is not None:
        _caption(asked, min(plan.probe, len(space.dataset.val)), space.dataset.task.samples)
    if pressed is None:
        return
    title = N_("Sensitivity preview") if pressed.preview else N_("Sensitivity scan")
    with show_errors():
        kept = None
        if not pressed.preview:
            kept = kept_on_disk(KIND, title, plan, space, scan=settings_of(pressed))
        start_carried(KIND, title, _events(pressed, space, kept), pressed, kept)
        st.rerun()


def continue_scans() -> None:
    """Draws this browser's interrupted scans."""

    def go_on(carried: Carried, description: Description, plan: Plan, space: Workspace) -> None:
        try:
            asked = request_of(plan, description["scan"])
        except (KeyError, TypeError, ValueError) as error:
            carried.close(delete=True)
            raise PruningError(_("This scan cannot be read, and was deleted.")) from error
        title = str(description.get("title"))
        start_carried(KIND, title, _events(asked, space, carried), asked, carried)

    interrupted_runs(KIND, INTERRUPTED, _kept_layers, go_on)


def _kept_layers(description: Description, plan: Plan) -> int:
    """How many layers an interrupted scan has."""
    return len(description.get("scan", {}).get("layers", ()))


def _events(asked: ScanRequest, space: Workspace, carried: Carried | None) -> MakeEvents:
    """Starts the scan; the run history keeps it. A preview is an estimate, which is not kept."""
    history = None if asked.preview else cache.keeping_history()
    base = cache.fingerprint(asked.plan, space) if history else ""
    start = scan_record(asked.plan, settings_of(asked), base, space.dataset.task)
    return cache.work(
        asked.plan,
        space,
        resumable(partial(scan_events, asked), carried),
        lambda events: kept_scan(history, start, events),
    )


def _grid(plan: Plan) -> Sequence[int]:
    """The sparsities to measure, in percent."""
    presets = (*PRESETS, OWN)
    preset = st.selectbox(
        _("Grid"),
        presets,
        format_func=_,
        width=190,
        help=HELP["grid"],
        disabled=granularity(plan.granularity).fixed_ratio is not None,
        **address_choice("grid", {name: name for name in presets}, presets[1]),
    )
    if preset != OWN:
        return PRESETS.get(preset, ())
    state.keep_widget("grid_values")
    return tuple(
        st.multiselect(
            _("Sparsities, %"),
            range(5, 101, 5),
            default=PRESETS["Quick"],
            key="grid_values",
            bind="query-params",
            width=420,
            help=HELP["grid_values"],
        )
    )


def _couplings(plan: Plan, space: Workspace) -> tuple[Coupling, ...] | None:
    """The couplings whose layers are pruned together; None where each layer is pruned alone.

    The choice is offered only where whole filters are removed.
    """
    if not granularity(plan.granularity).ties_layers:
        return None
    couplings, unknown = space.tied
    state.keep_widget("tied")
    together = st.toggle(
        _("Tied layers together"),
        value=True,
        key="tied",
        bind="query-params",
        help=HELP["tied"],
        disabled=bool(unknown),
    )
    if unknown:
        st.caption(_("Each layer alone: {why}", why=plain(unknown)))
    return couplings if together and not unknown else None


def _buttons(asked: ScanRequest | None, scans: tuple[Snapshot, ...]) -> ScanRequest | None:
    """The request of the pressed button. A preview of a finished scan is not offered."""
    off = any(scan.active for scan in scans[:1]) or asked is None or len(asked.grid) < 2
    again = any(not asked_for(scan, ScanRequest).preview for scan in scans)
    if st.button(
        _("Scan again") if again else _("Scan"),
        type="secondary" if again else "primary",
        key="scan_start",
        icon=":material/monitoring:",
        help=HELP["scan"],
        disabled=off,
    ):
        return asked
    known = asked is not None and any(
        scan.status == "done" and same_work(asked_for(scan, ScanRequest), asked)
        for scan in scans[:1]
    )
    if st.button(
        _("Preview"),
        key="preview_start",
        icon=":material/speed:",
        help=HELP["preview"],
        disabled=off or known,
    ):
        return asked and replace(asked, preview=True)
    return None


def _caption(asked: ScanRequest, images: int, samples: str) -> None:
    """How much the scan measures."""
    if len(asked.grid) < 2:
        st.caption(_("Choose at least one sparsity."))
        return
    size = _(
        "{layers} × {count} sparsities: at most {most} measurements on {images:,} {samples} each.",
        layers=_layers(asked),
        count=len(asked.grid) - 1,
        most=asked.measurements,
        images=images,
        samples=from_core(samples),
    )
    chosen = granularity(asked.plan.granularity)
    if chosen.fixed_ratio is None:
        st.caption(size)
        return
    st.caption(
        _(
            "{granularity} has a fixed ratio: each layer is measured dense and at {ratio}. {size}",
            granularity=from_core(chosen.label),
            ratio=percent(chosen.fixed_ratio),
            size=size,
        )
    )


def _layers(asked: ScanRequest) -> str:
    """The number of layers, and of parts where layers are measured together."""
    count = len(asked.layers)
    if asked.units < count:
        return _("{count} layers in {parts} parts", count=count, parts=asked.units)
    return _("{count} layers", count=count)

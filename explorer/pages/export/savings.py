"""What pruning saves here: nonzeros, bytes of two kinds, and the measured time."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress
from explorer.pages.export.events import latency_events
from explorer.session import cache, state
from explorer.session.notices import plain, show_errors
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core, in_a_row
from explorer.training.status import active_job, ended, is_active, newest_run, note_lost, repeated
from pruning_core.compress.storage_sizes import StoredSize, dense_stored, smallest_stored
from pruning_core.granularity import Granularity, granularity
from pruning_core.plan import Plan
from pruning_core.types import Report
from pruning_core.workspaces import Workspace

JOB = "latency"
BATCHES = (1, 8, 32, 128)
USUAL_BATCHES = (1, 32)
CARD: dict[str, Any] = {
    "delta_color": "off",
    "delta_arrow": "off",
    "border": True,
    "height": "stretch",
}
FINE = N_(
    "Of these numbers, only nonzeros and stored bytes change: dense runtimes compute zeros like "
    "other numbers. Linear layers with very many zeros can be faster in a sparse format: "
    "`python -m pruning_core time plan.json --advise` measures that."
)
N_OF_M = N_(
    "Of these numbers, only nonzeros and stored bytes change here: zeros in an N:M pattern save "
    "time only on a GPU whose kernels read that pattern, such as 2:4."
)
CHANNELS = N_(
    "With whole filters, channels or heads removed, all four numbers can change: nonzeros and "
    "stored bytes in the masked network too, dense bytes and time only in the thinned one, which "
    "has no zeros to store or to compute. Whether it is faster, only a measurement shows: few "
    "channels, or a number that 16 does not divide, may be as slow as before."
)


def savings(
    plan: Plan,
    space: Workspace,
    report: Report,
    sizes: tuple[StoredSize, ...],
    thinned: int | None,
) -> None:
    """Shows the four numbers, and which of them the plan's granularity can change.

    report, sizes: computed of the network that is exported; thinned: bytes of the thinned one.
    """
    st.subheader(_("What it saves here"), anchor=False)
    active = is_active(newest_run(JOB, cache.mask_key(plan)))
    repeated(_live, active)(plan, space, report, sizes, thinned, active)


def what_can_change(chosen: Granularity) -> str:
    """Which of the four numbers a granularity can change, and why."""
    if chosen.n_kept is not None:
        return _(N_OF_M)
    return _(CHANNELS) if chosen.narrows else _(FINE)


def _live(
    plan: Plan,
    space: Workspace,
    report: Report,
    sizes: tuple[StoredSize, ...],
    thinned: int | None,
    was_active: bool,
) -> None:
    """Numbers and status. This part redraws itself while the measurement is active."""
    with show_errors():
        run = newest_run(JOB, cache.mask_key(plan))  # of any plan with the same masks
        if was_active and not is_active(run):
            st.rerun()
        _numbers(report, sizes, thinned, run)
        st.caption(what_can_change(granularity(plan.granularity)))
        _status(plan, space, run)


def _numbers(
    report: Report, sizes: tuple[StoredSize, ...], thinned: int | None, run: Snapshot | None
) -> None:
    dense = dense_stored(sizes)
    small = smallest_stored(sizes)
    places = st.grid(4, min_column_width=180)
    total = _("of {total:,} parameters", total=report.parameters)
    nonzeros = f"{report.nonzeros:,}"
    places.metric(_("Nonzeros · computed"), nonzeros, total, help=HELP["nonzeros"], **CARD)
    same = _("zeros are stored too") if thinned is None else _("thinned: {bytes:,}", bytes=thinned)
    places.metric(_("Dense bytes · computed"), f"{dense:,}", same, help=HELP["dense_file"], **CARD)
    places.metric(
        _("Stored bytes · computed"),
        f"{small.bytes:,}",
        _(
            "{format}: {times:.1f}× smaller",
            format=from_core(small.label),
            times=dense / small.bytes,
        ),
        help=HELP["stored_file"],
        **CARD,
    )
    value, words = _time_words(run)
    places.metric(_("Time · measured"), value, words, help=HELP["latency"], **CARD)


def _time_words(run: Snapshot | None) -> tuple[str, str]:
    """The speed-up in PyTorch at the largest batch, of the thinned network where there is one, and
    its interval.
    """
    if run is None or run.result is None:
        return "–", _("not measured yet")
    from pruning_core.compress.forms import MASKED, THIN  # not before they are used
    from pruning_core.compress.latency import Latency

    if not isinstance(run.result, Latency):
        return "–", _("could not be measured")
    measured = [times for times in run.result.times if times.runtime == "eager"]
    timings = {t.variant: t for times in measured[-1:] for t in times.timings}
    shown = timings.get(THIN) or timings.get(MASKED)
    if shown is None:
        return "–", _("could not be measured")
    low, high = shown.interval
    network = _("thinned") if shown.variant == THIN else _("with zeros")
    words = _(
        "{network}, batch {batch}: {low:.2f} to {high:.2f}",
        network=network,
        batch=measured[-1].batch,
        low=low,
        high=high,
    )
    return f"{shown.speedup:.2f}×", _("too busy to decide") if run.result.busy else words


def _status(plan: Plan, space: Workspace, run: Snapshot | None) -> None:
    """The button, the bar with its stop, and the table of a finished measurement."""
    if run is not None and run.active:
        active_job(run, _progress(run), "latency_stop", _("Stops after the present pair."))
        return
    if run is None:
        note_lost(JOB)
    else:
        ended(run, _("measurement"), _(". Nothing was changed."))
        _table(run)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    batches = _batches(row, len(space.dataset.val))
    if row.button(
        _("Measure the time") if run is None else _("Measure again"),
        key="latency_start",
        icon=":material/timer:",
        disabled=not batches,
        help=_(
            "Runs in the background, for a minute or two. You can use the other pages meanwhile."
        ),
    ):
        work = cache.work(plan, space, partial(latency_events, plan, batches=batches))
        cache.jobs().start(
            state.owner(), JOB, N_("Measurement of time"), work, cache.mask_key(plan)
        )
        st.rerun()


def _batches(place: DeltaGenerator, samples: int) -> tuple[int, ...]:
    """The batch sizes to measure, in order. samples: that a batch can have."""
    state.keep_widget("latency_batches")
    before: list[int] = state.widget_value("latency_batches", list(USUAL_BATCHES))
    state.set_widget("latency_batches", [size for size in before if size <= samples])
    chosen = place.segmented_control(
        _("Batch sizes"),
        [size for size in BATCHES if size <= samples],
        selection_mode="multi",
        key="latency_batches",
        help=HELP["latency_batches"],
    )
    return tuple(sorted(chosen))


def _progress(run: Snapshot) -> Progress:
    last = run.events[-1] if run.events else None
    share = float(getattr(last, "share", 0.0))
    left = run.seconds * (1 - share) / share if share > 0.05 else None
    return Progress(share, left, from_core(str(getattr(last, "stage", N_("preparing")))))


def _table(run: Snapshot) -> None:
    """One row per runtime, batch and form; then what was left out, and the machine."""
    from pruning_core.compress.latency import Latency, conclusion, verdict_words
    from pruning_core.compress.runtimes import RUNTIMES

    if not isinstance(run.result, Latency):
        return
    if run.result.busy is not None:
        st.warning(plain(run.result.busy), icon=":material/speed:")
    else:
        st.markdown(plain(conclusion(run.result)))
    rows = [
        {
            _("Runtime"): from_core(RUNTIMES[times.runtime].label),
            _("Batch"): times.batch,
            _("Network"): from_core(timing.label),
            "ms": round(1e3 * timing.seconds, 3),
            _("Quartiles, ms"): _(" to ").join(f"{1e3 * end:.3f}" for end in timing.quartiles),
            _("Measured"): from_core(verdict_words(timing, times.errors[timing.variant]))
            if timing.variant in times.errors
            else _("the reference"),
        }
        for times in run.result.times
        for timing in times.timings
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="latency_table")
    at = run.result.machine
    load = "" if at.load is None else _(", load {load:.1f} before", load=at.load)
    where = _(
        "{processor}, {threads} of {cores} cores{load}.",
        processor=at.processor,
        threads=at.threads,
        cores=at.cores,
        load=load,
    )
    how = _("Times: medians. Ratios: medians, 95% intervals.")
    more = [from_core(note) for note in (*run.result.notes, *run.result.left_out)]
    st.caption(plain(in_a_row([where, how, *more])))

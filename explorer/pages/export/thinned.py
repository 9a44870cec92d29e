"""The thinned network: why layers stay wide, the build in the background, widths and values."""

from collections.abc import Mapping
from functools import partial
from typing import cast

import pandas as pd
import streamlit as st

from explorer.charts import alt, width_bars
from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress
from explorer.pages.export.downloads import Files
from explorer.pages.export.storage import subject_key
from explorer.session import cache, state
from explorer.session.foldable import foldable
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import interval_words, percent, title, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from explorer.training.status import active_job, ended, is_active, newest_run, note_lost, repeated
from pruning_core.compress.thin import Thinned, thin_refusals
from pruning_core.export.thinned import CARD, ThinnedExport, card_of, export_thinned
from pruning_core.granularity import granularity
from pruning_core.types import PruningError

JOB = "thin"
OFF = N_("Off")
MULTIPLES: tuple[str | int, ...] = (OFF, 8, 16)
"""Options of the rounding; the first one stands for None."""
NAMES = {
    "dense": N_("Dense"),
    "thinned": N_("Thinned"),
    "thinned, not rounded": N_("Thinned, not rounded"),
}
"""A network of the table -> its name there."""
LEAD = N_(
    "The pruned network without its removed channels and heads: fewer parameters and multiply-adds "
    "in every program, with the outputs of the masked network, checked here."
)
WHY_NOT = N_(
    "This granularity leaves weights in every channel and every head, so the network cannot become "
    "narrower: choose Filter, Channel or Head."
)


def thinned_files(files: Files) -> Mapping[str, bytes]:
    """Draws the panel; returns the files of the thinned network, none where it is not built."""
    st.subheader(_("Thinned network"), anchor=False)
    if not granularity(files.plan.granularity).narrows:
        st.caption(_(WHY_NOT))
        return {}
    st.caption(_(LEAD))
    try:
        refusals = _refusals(files)
    except PruningError as problem:
        st.info(plain(str(problem)), icon=":material/block:")
        return {}
    for sentence in refusals:
        st.info(plain(sentence), icon=":material/block:")
    state.keep_widget("round_to")
    chosen = st.segmented_control(
        _("Widths as multiples of"),
        MULTIPLES,
        default=OFF,
        required=True,
        key="round_to",
        format_func=lambda own: _(str(own)),
        help=HELP["round_to"],
    )
    round_to = None if chosen == OFF else cast(int, chosen)
    about = f"{subject_key(files)} {round_to}"
    run = newest_run(JOB, about)
    active = is_active(run)
    repeated(_status, active)(files, round_to, about, active)
    if run is None or not isinstance(run.result, ThinnedExport):
        return {}
    _result(files, run.result, refusals)
    card = card_of(files.plan, files.space, run.result, from_core)
    return {**run.result.files, CARD: card}


def _refusals(files: Files) -> tuple[str, ...]:
    """Why layers will stay as wide as they are. Raises PruningError where nothing is removed."""
    make = partial(thin_refusals, files.plan, files.space, files.masks)
    return cache.cached_detail(make, files.space, "thin_refusals", subject_key(files))


def _status(files: Files, round_to: int | None, about: str, was_active: bool) -> None:
    """The button, or the bar with its stop. Redraws itself while the build is active."""
    with show_errors():
        run = newest_run(JOB, about)
        if run is not None and run.active:
            active_job(run, _progress(run), "thin_stop", _("Stops after the present step."))
            return
        if was_active:
            st.rerun()
        if run is None:
            note_lost(JOB)
        else:
            ended(run, _("build"), _(". There are no files of the thinned network."))
        if (run is None or run.result is None) and st.button(
            _("Build the thinned network"),
            key="thin_start",
            icon=":material/compress:",
            help=_(
                "Runs in the background: builds, checks and measures the network, and writes its "
                "files."
            ),
        ):
            events = partial(
                export_thinned,
                files.plan,
                masks=files.masks,
                model=files.model,
                round_to=round_to,
            )
            work = cache.work(files.plan, files.space, events)
            cache.jobs().start(state.owner(), JOB, N_("Thinned network"), work, about)
            st.rerun()


def _progress(run: Snapshot) -> Progress:
    last = run.events[-1] if run.events else None
    stage = str(getattr(last, "stage", N_("preparing")))
    return Progress(float(getattr(last, "share", 0.0)), None, from_core(stage))


def _result(files: Files, made: ThinnedExport, known: tuple[str, ...]) -> None:
    """Sentences on what stays, a table of the networks, and the widths."""
    for sentence in made.thinned.refused:
        if sentence not in known:
            st.info(plain(sentence), icon=":material/block:")
    for sentence in made.left_out:
        st.warning(plain(sentence), icon=":material/warning:")
    st.dataframe(table(made), hide_index=True, key="thin_table")
    task = files.space.dataset.task
    n = next(iter(made.measured.values())).n
    st.caption(
        _(
            "Parameters, multiply-adds and bytes are computed; the {value} is measured on the test "
            "split, n = {n:,}, with 95% intervals. The largest difference from the masked "
            "network's outputs is {error:.0e} of the largest output.",
            value=from_core(task.value_label),
            n=n,
            error=made.thinned.error,
        )
    )
    figure = width_bars(made.thinned.widths)
    st.plotly_chart(figure, key="thin_widths", config={"displayModeBar": False}, alt=alt(figure))
    if made.thinned.notes:
        with foldable(_("Channels that stay as zeros"), "zeros_shown", ":material/notes:"):
            for sentence in made.thinned.notes:
                st.markdown(f"- {plain(sentence)}")


def table(made: ThinnedExport) -> pd.DataFrame:
    """One row per network: sizes before and after, and the measured values."""
    networks: dict[str, tuple[Thinned, int]] = {
        "dense": (made.thinned, 0),
        "thinned": (made.thinned, 1),
    }
    if made.unrounded is not None:
        networks["thinned, not rounded"] = (made.unrounded, 1)
    rows = []
    for name, (own, at) in networks.items():
        measured = made.measured[name]
        task = measured.task
        rows.append(
            {
                _("Network"): _(NAMES[name]),
                _("Parameters"): _count(own.parameters, at),
                _("Multiply-adds"): _count(own.macs, at),
                _("Bytes"): _count(own.bytes, at),
                title(task): value_text(measured.value, task),
                "95%": interval_words(measured.interval, task),
            }
        )
    return pd.DataFrame(rows)


def _count(pair: tuple[int, int], at: int) -> str:
    """The number before (at: 0) or after (1); that one with its share of the first."""
    share = f" ({percent(pair[1] / pair[0])})" if at and pair[0] else ""
    return f"{pair[at]:,}{share}"

"""In the side bar of every page: this browser's runs that belong to another page."""

from collections.abc import Iterable

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import clock
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.translate import N_, _, n_
from explorer.training.status import repeated, stop_button

PAGE_OF = {
    "train": "finetune",
    "flow": "flows",
    "scan": "sensitivity",
    "together": "sensitivity",
    "search": "search",
    "correlation": "search",
    "study": "methods",
    "how far": "explore",
    "smallest": "explore",
    "latency": "export",
    "thin": "export",
}
"""The kind of a run -> the path of the page that shows its result."""
SEEN = "runs seen elsewhere"
"""Ids of runs that were shown as active: their end is shown, too, until their page was opened."""
SYMBOLS = {"queued": "schedule", "running": "hourglass_top", "done": "check", "failed": "error"}
ENDS = {"done": N_("finished"), "failed": N_("failed")}
STOPPED = N_("stopped")


def runs_elsewhere(current: str, titles: dict[str, str]) -> None:
    """Draws the runs of other pages: how far they are, a button that opens their page, and Stop.

    current: the path of the page; titles: path -> title of every page.
    """
    active = [run for run in _elsewhere(current) if run.active]
    here = {run.id for run in _own_runs() if PAGE_OF.get(run.kind) == current}
    seen = set(state.stored(SEEN, ())) - here | {run.id for run in active}
    state.store(SEEN, tuple(sorted(seen)))
    repeated(_draw, bool(active))(current, titles)


def _own_runs() -> tuple[Snapshot, ...]:
    return cache.jobs().snapshots(state.owner())


def _elsewhere(current: str) -> list[Snapshot]:
    return [run for run in _own_runs() if PAGE_OF.get(run.kind, current) != current]


def _draw(current: str, titles: dict[str, str]) -> None:
    seen = state.stored(SEEN, ())
    shown: Iterable[Snapshot] = (r for r in _elsewhere(current) if r.active or r.id in seen)
    for run in shown:
        with st.container(border=True, gap="xxsmall"):
            symbol = SYMBOLS.get(run.status, "stop")
            st.caption(f":material/{symbol}: {plain(run.title)} · {_state(run)}")
            with st.container(horizontal=True, vertical_alignment="center"):
                path = PAGE_OF[run.kind]
                label = _("Open {page}", page=titles[path])
                if st.button(label, key=f"open {run.id}", type="tertiary"):
                    state.go_to(path)
                    st.rerun()
                if run.active:
                    stop_help = _("Stops this run after its present step.")
                    stop_button(run, f"stop {run.id}", stop_help)


def _state(run: Snapshot) -> str:
    """How far the run is, in a few words."""
    if run.status == "queued":
        return n_("queued behind {n} other run", "queued behind {n} other runs", run.ahead)
    if run.status == "running":
        return _("running for {clock}", clock=clock(run.seconds))
    return _(ENDS.get(run.status, STOPPED))

"""Runs as files: CSV, zip, import; and deletion with undo."""

from collections.abc import Callable, Sequence
from io import BytesIO

import streamlit as st

from explorer.pages.runs.table import select
from explorer.session import state
from explorer.session.demo import uploader
from explorer.session.foldable import foldable
from explorer.session.notices import plain
from explorer.texts.translate import _, from_core, n_
from pruning_core.export.archive import zip_archive
from pruning_core.history import History, Run, event_files, import_zip, to_csv, to_zip
from pruning_core.types import PruningError

DELETED = "runs deleted"


def delete(history: History, runs: Sequence[str]) -> None:
    """Deletes runs; the page then offers to undo it."""
    try:
        history.delete(runs)
    except PruningError as problem:
        state.add_problem(str(problem))
    else:
        state.store(DELETED, tuple(runs))
        select([])


def undo_note(history: History) -> None:
    """After a deletion: how many, and a button that undoes it."""
    deleted: tuple[str, ...] = state.stored(DELETED, ())
    if not deleted:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        words = n_(
            "{n} run deleted. Deleted runs are kept for 30 days.",
            "{n} runs deleted. Deleted runs are kept for 30 days.",
            len(deleted),
        )
        st.info(words, icon=":material/delete:")
        st.button(
            _("Undo"), key="runs_undo", icon=":material/undo:", on_click=_undo, args=(history,)
        )


def _undo(history: History) -> None:
    try:
        history.restore(state.stored(DELETED, ()))
    except PruningError as problem:
        state.add_problem(str(problem))
    else:
        state.store(DELETED, ())


def transfer_panel(history: History, shown: Sequence[Run], chosen: Sequence[Run]) -> None:
    """Export of the selected runs, or of all that are shown, and import of a zip."""
    with foldable(_("Export and import"), "transfer", ":material/import_export:"):
        runs = list(chosen or shown)
        if runs:
            words = n_(
                "{n} run: all runs that are shown.",
                "{n} runs: all runs that are shown.",
                len(runs),
            )
            if chosen:
                words = n_("{n} run: the selected runs.", "{n} runs: the selected runs.", len(runs))
            with st.container(horizontal=True, vertical_alignment="center"):
                _downloads(history, runs)
                st.caption(words)
        why = from_core(history.read_only)
        given = uploader(_("Add runs from a zip"), "zip", "runs_import", why)
        label = _("Import")
        if given is not None and st.button(label, key="runs_import_now", icon=":material/add:"):
            _import(history, given)


def _downloads(history: History, runs: Sequence[Run]) -> None:
    """A button for each form. A file is made when its button is pressed."""
    forms: dict[str, tuple[str, str, str, Callable[[], str | bytes]]] = {
        "csv": ("CSV", "runs.csv", "table", lambda: to_csv(runs)),
        "zip": (
            _("Zip with masks and curves"),
            "runs.zip",
            "folder_zip",
            lambda: to_zip(history, runs),
        ),
        "tensorboard": (
            _("TensorBoard logs"),
            "tensorboard.zip",
            "show_chart",
            lambda: zip_archive(event_files(history, runs)),
        ),
    }
    for name, (label, file, icon, make) in forms.items():
        st.download_button(
            label,
            make,
            file,
            "text/csv" if name == "csv" else "application/zip",
            key=f"runs_{name}",
            icon=f":material/{icon}:",
            on_click="ignore",
        )


def _import(history: History, given: BytesIO) -> None:
    try:
        imported = import_zip(history, given)
    except PruningError as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        return
    st.success(
        _(
            "{new} new runs; {known} were there already.",
            new=len(imported.new),
            known=imported.known,
        ),
        icon=":material/check:",
    )
    st.button(_("Show them"), key="runs_show")

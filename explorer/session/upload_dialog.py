"""The side bar's entry "Open your own …": a dialog that takes a checkpoint and images."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from explorer.session import cache, state
from explorer.session.demo import why_no_uploads
from explorer.session.notices import plain
from explorer.session.upload_form import Fields, fields
from explorer.texts.formats import listed
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from pruning_core.start_masks import ZEROS
from pruning_core.types import PruningError
from pruning_core.zoo.uploads import (
    NetworkCard,
    Statement,
    find_upload,
    inspect,
    store_images,
    store_network,
)

OPEN = "own_open"
NO_ERROR = ("", "")
"""What the error is about (`_filled`; "" for an upload opened by its name), and the error."""
LEAD = N_(
    "The weights of a network that you trained, and your images. What you upload is stored on the "
    "server under a name such as resnet18@3fa2c1. Only you have it in your lists. Anyone who knows "
    "the name can open it."
)


@dataclass(frozen=True)
class Inspected:
    """What a checkpoint gives the chosen architecture, without its tensors.

    rows: of the table of differences; error: why nothing was found, "" for no error.
    """

    classes: int = 0
    fitting: int = 0
    expected: int = 0
    notes: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    rows: tuple[tuple[str, str, str, str], ...] = ()
    error: str = ""


def entry() -> None:
    """Draws the button, and the dialog while it is open."""
    why = why_no_uploads()
    st.button(
        _("Open your own …"),
        key="own_button",
        icon=":material/upload:",
        width="stretch",
        help=why or HELP["own_button"],
        disabled=bool(why),
        on_click=state.store,
        args=(OPEN, True),
    )
    if state.stored(OPEN, False) and not why:
        title = _("Open your own network")
        st.dialog(title, width="medium", icon=":material/upload:", on_dismiss=_close)(_dialog)()


def _close() -> None:
    state.store(OPEN, False)


def _dialog() -> None:
    st.caption(_(LEAD))
    _by_name()
    given = fields()
    chosen = _checkpoint(given)
    if given.missing:
        st.caption(_("Still missing: {parts}.", parts=listed(map(_, given.missing))))
    if st.button(
        _("Open"), key="own_submit", type="primary", disabled=bool(given.missing), width="stretch"
    ):
        _open(given, chosen)
    about, error = state.stored("own_error", NO_ERROR)
    if error and about in ("", _filled(given, chosen)):
        st.error(plain(error), icon=":material/error:")
    if not state.stored(OPEN, True):
        st.rerun()  # the whole app, with the new network


def _filled(given: Fields, chosen: str) -> str:
    """What all fields hold, as a key: an error is shown until one of them changes."""
    files = (given.checkpoint, given.archive, given.masks)
    ids = tuple(file and file.file_id for file in files)
    return repr((given.architecture, ids, given.transform, given.dataset, given.names, chosen))


def _by_name() -> None:
    with st.expander(_("Open an earlier upload by its name")):
        left, right = st.columns((3, 1), vertical_alignment="bottom")
        name = left.text_input(
            _("Name"), key="own_name", placeholder="resnet18@3fa2c1", help=HELP["own_name"]
        )
        if right.button(_("Open it"), key="own_by_name", width="stretch") and name:
            try:
                card = find_upload(name.strip(), NetworkCard)[1]
            except PruningError as problem:
                return state.store("own_error", ("", str(problem)))
            _show(name.strip(), card)
    return None


def _checkpoint(given: Fields) -> str:
    """Shows what the checkpoint holds. Returns the set of weights that was chosen, "" for none."""
    if given.architecture is None or given.checkpoint is None:
        return ""
    if given.transform is None:
        st.caption(_("The checkpoint is checked when the input is given."))
        return ""
    chosen: str = state.widget_value("own_weights", "") or ""
    inspected = _inspected(given.checkpoint, given.architecture, given.transform.shape, chosen)
    if len(inspected.choices) > 1:
        st.selectbox(
            _("Weights in the file"),
            inspected.choices,
            key="own_weights",
            help=HELP["own_weights"],
        )
    if inspected.error:
        st.error(plain(inspected.error), icon=":material/error:")
        return chosen
    text = _(
        "{n} of {all} tensors fit; the head has {outputs} outputs.",
        n=inspected.fitting,
        all=inspected.expected,
        outputs=inspected.classes,
    )
    if inspected.rows:
        st.warning(_("{text} These differ:", text=text), icon=":material/warning:")
        columns = (_("Name"), _("Problem"), _("In the file"), _("In the network"))
        rows = [tuple(map(from_core, row)) for row in inspected.rows]
        st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True, height=210)
    else:
        st.success(text, icon=":material/check:")
    for note in inspected.notes:
        st.caption(plain(note))
    return chosen


def _inspected(
    checkpoint: UploadedFile, architecture: str, shape: tuple[int, int, int], chosen: str
) -> Inspected:
    """What the checkpoint holds; a file is read once for each choice."""
    key = repr((checkpoint.file_id, architecture, shape, chosen))
    known, inspected = state.stored("own_inspected", ("", Inspected()))
    if known != key:
        with st.spinner(_("Reading the checkpoint …")):
            inspected = _inspect(checkpoint.getvalue(), architecture, shape, chosen)
        state.store("own_inspected", (key, inspected))
    return inspected


def _inspect(
    content: bytes, architecture: str, shape: tuple[int, int, int], chosen: str
) -> Inspected:
    try:
        fit = inspect(content, architecture, shape, chosen)
    except PruningError as problem:
        return Inspected(error=str(problem))
    return Inspected(
        fit.classes,
        len(fit.state),
        fit.expected,
        fit.notes,
        fit.choices,
        tuple((row.name, row.problem, row.file, row.network) for row in fit.differences),
    )


def _open(given: Fields, chosen: str) -> None:
    """Stores the files and shows the network. An error changes nothing."""
    assert given.checkpoint is not None
    assert given.transform is not None
    assert given.architecture is not None
    state.store("own_error", NO_ERROR)
    try:
        with st.spinner(_("Storing the files and opening the network …")):
            dataset = given.dataset
            if given.archive is not None:
                images = store_images(given.archive.getvalue(), given.archive.name, state.owner())
                dataset = images.name
            stored = store_network(
                given.checkpoint.getvalue(),
                given.checkpoint.name,
                Statement(given.architecture, str(dataset), given.transform, given.names, chosen),
                state.owner(),
                given.masks.getvalue() if given.masks is not None else None,
            )
            cache.workspace(stored.name, str(dataset))
    except PruningError as problem:
        as_it_was = N_("The plan is as it was.")
        return state.store("own_error", (_filled(given, chosen), f"{problem} {as_it_was}"))
    assert isinstance(stored.card, NetworkCard)
    return _show(stored.name, stored.card)


def _show(name: str, card: NetworkCard) -> None:
    """Sets the network and its images in the plan, and closes the dialog."""
    start = {"start": ZEROS} if card.masks else {}
    state.change(model=name, dataset=card.dataset, **start)
    state.store("own_error", NO_ERROR)
    _close()

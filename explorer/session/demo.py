"""What a demonstration does not let visitors do, and the sentences that say so."""

from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from explorer.limits import limits
from explorer.texts.translate import N_, _, n_

NO_UPLOADS = N_("This server takes no uploads.")


def demo_note() -> None:
    """Says that this is a demonstration, where it is one."""
    if limits().demo:
        epochs = n_("{n} epoch", "{n} epochs", limits().epochs)
        words = _(
            "This is a demonstration: a training has at most {epochs}, and nothing is kept.",
            epochs=epochs,
        )
        st.caption(f":material/co_present: {words}")


def why_no_uploads() -> str:
    """The sentence, in the page's language; "" where uploads are possible."""
    return "" if limits().upload_mb else _(NO_UPLOADS)


def uploader(
    label: str, kinds: list[str] | str, key: str, why: str = "", **options: Any
) -> UploadedFile | None:
    """A field for one file; disabled where the server takes no uploads.

    why: another reason to disable it; options: as in Streamlit.
    """
    if why := why_no_uploads() or why:
        st.file_uploader(label, kinds, key=key, help=why, disabled=True)
        return None
    given: UploadedFile | None = st.file_uploader(label, kinds, key=key, **options)
    return given

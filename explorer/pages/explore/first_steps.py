"""The first line of Explore: three steps for a new visitor, until they are closed."""

import streamlit as st

from explorer.session import state
from explorer.texts.help import LEAD
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _
from pruning_core.tasks import Task

CLOSED = "first steps closed"
STEPS = (
    N_("Choose in the side bar."),
    N_("Drag *Remove*."),
    N_("*Fine-tune & compare*."),
)


def first_steps(task: Task) -> None:
    """The steps with a button that closes them; afterwards what the app is for."""
    if state.stored(CLOSED, False):
        st.markdown(for_task(LEAD, task), width="stretch")
        return
    steps = " ".join(
        f":blue-badge[{number}] {for_task(step, task)}" for number, step in enumerate(STEPS, 1)
    )
    st.markdown(steps, width="stretch")
    st.button(
        _("Close"),
        key="close_first_steps",
        icon=":material/close:",
        type="tertiary",
        help=_("Closes these three steps."),
        on_click=state.store,
        args=(CLOSED, True),
    )

"""The rounds of a flow with a goal: which kept it, which missed it, and which is the result."""

from collections.abc import Sequence

import streamlit as st

from explorer.charts import alt
from explorer.charts.goal import goal_chart
from explorer.session.notices import plain
from explorer.texts.formats import title, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import _, from_core
from pruning_core.flows.goal import ending_words
from pruning_core.types import Evaluation, GoalRound


def goal_panel(events: Sequence[object], dense: Evaluation | None, *, active: bool) -> None:
    """Draws the rounds so far; nothing for a flow without a goal."""
    rounds = [event for event in events if isinstance(event, GoalRound)]
    if not rounds or dense is None:
        return
    st.subheader(_("Rounds and goal"), anchor=False, help=HELP["goal_rounds"])
    if not active:
        st.markdown(plain(ending_words(rounds, value_text)))
    figure = goal_chart(rounds, dense)
    st.plotly_chart(figure, key="flow_goal", alt=alt(figure), config={"displayModeBar": False})
    task = dense.task
    st.caption(
        _(
            "{value} after the training of each round, on {n:,} probe {samples}, with 95% "
            "intervals. The test images are not used.",
            value=title(task),
            n=dense.n,
            samples=from_core(task.samples),
        )
    )

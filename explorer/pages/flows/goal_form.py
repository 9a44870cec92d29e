"""The goal of a flow that prunes in rounds: fields that are empty where there is no limit."""

from dataclasses import replace

import streamlit as st

from explorer.session import state
from explorer.texts.formats import scale
from explorer.texts.help import HELP
from explorer.texts.task_words import loss_limit_label
from explorer.texts.translate import _, from_core
from pruning_core.flows import Flow, flow, spec
from pruning_core.flows.goal import ANY_LOSS, BUDGETS, GoalSettings
from pruning_core.tasks import Task


def goal_form(name: str, chosen: Flow, task: Task) -> None:
    """How much may be lost and how much may remain, where the flow can stop at a goal."""
    if not isinstance(chosen, GoalSettings):
        return
    row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
    loss = None if chosen.lose < 0 else round(chosen.lose * scale(task), 6)
    state.set_widget("goal_lose", loss)
    row.number_input(
        loss_limit_label(task),
        0.0,
        1e6,
        None,
        step=0.5,
        format="%g",
        key="goal_lose",
        placeholder=_("no limit"),
        help=HELP["goal_lose"],
        on_change=_changed,
        args=(name, "lose", scale(task), ANY_LOSS),
    )
    for budget, label in BUDGETS.items():
        keep = getattr(chosen, budget)
        state.set_widget(f"goal_{budget}", None if keep >= 1 else round(100 * keep, 6))
        row.number_input(
            _("Keep at most, % of {budget}", budget=from_core(label)),
            0.0,
            100.0,
            None,
            step=5.0,
            format="%g",
            key=f"goal_{budget}",
            placeholder=_("no budget"),
            help=HELP["goal_budget"],
            on_change=_changed,
            args=(name, budget, 100.0, 1.0),
        )


def _changed(name: str, setting: str, unit: float, none: float) -> None:
    """Sets the goal in the plan's flow. none: the setting without a limit."""
    value: float | None = state.widget_value(f"goal_{setting}", None)
    amount = none if value is None else round(value / unit, 8)
    state.change(flow=spec(name, replace(flow(state.plan().flow), **{setting: amount})))

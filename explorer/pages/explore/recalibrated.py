"""The accuracy with batch-norm statistics that are measured again on the pruned network."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.session import cache, state
from explorer.texts.formats import change_text, points, rounded_text
from explorer.texts.help import HELP
from pruning_core.pipeline import RECALIBRATION
from pruning_core.plan import Plan
from pruning_core.training.batch_norm import tracked_norms
from pruning_core.workspaces import Workspace

QUICK = 2 * 10**10
"""Multiply-adds that are computed without being asked for."""


def recalibrated_caption(place: DeltaGenerator, plan: Plan, space: Workspace) -> None:
    """The value with new batch-norm statistics; nothing for a network without batch norms.

    For a costly network there is a button first.
    """
    if not tracked_norms(space.model):
        return
    samples = min(RECALIBRATION, len(space.dataset.train)) + plan.probe
    macs = sum(layer.macs for layer in space.layers) * samples
    asked = state.stored("recalibrate", "") == cache.mask_key(plan)
    if macs > QUICK and not asked:
        place.button(
            "Recalibrate batch norm",
            key="recalibrate",
            icon=":material/build:",
            type="tertiary",
            help=HELP["recalibrated"],
            on_click=state.store,
            args=("recalibrate", cache.mask_key(plan)),
        )
        return
    with place, st.spinner("Recalibrating …"):
        repaired = cache.recalibrated_accuracy(plan, space)
    task = repaired.task
    gap = change_text(repaired.value - cache.dense_accuracy(plan, space).value, task)
    place.caption(
        f":material/build: **{rounded_text(repaired.value, task)}** with batch norm recalibrated "
        f"({gap}{points(task)})",
        help=HELP["recalibrated"],
    )

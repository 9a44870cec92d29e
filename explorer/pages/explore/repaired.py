"""The accuracy beside the mask lab's slider: as pruned, and with batch-norm statistics measured
again.
"""

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.session import cache, state
from explorer.texts.formats import change_text, points, title, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _
from pruning_core.pipeline import repair_note
from pruning_core.plan import Plan
from pruning_core.repairs import BN, NONE
from pruning_core.types import Evaluation
from pruning_core.workspaces import Workspace

QUICK = 5 * 10**10
"""Multiply-adds that are computed without being asked for."""
AS_PRUNED = N_("**{value}** as pruned ({change})")
WITH_BN = N_("**{value}** BN recalibrated ({change})")


def repaired_place(plan: Plan, space: Workspace) -> DeltaGenerator | None:
    """A place as high as the line, until `repaired_caption` fills it; None if nothing is pruned."""
    if not cache.prunable(plan, space)[0]:
        return None
    place = st.container(key="repaired_line", horizontal=True, vertical_alignment="center")
    place.empty()
    return place


def repaired_caption(place: DeltaGenerator, plan: Plan, space: Workspace) -> None:
    """Both values in one line. For a costly network there is a button in place of the second one.

    A network without batch norms has the first value only.
    """
    dense = cache.dense_accuracy(plan, space)
    pruned = cache.accuracy(replace(plan, repair=NONE), space)
    said = f"{title(dense.task)}: {_words(pruned, dense, AS_PRUNED)}"
    repaired = replace(plan, repair=BN)
    if repair_note(repaired, space) is not None:
        place.markdown(said)
        return
    if _costs_much(plan, space):
        place.markdown(said, width="content")
        place.button(
            _("Recalibrate BN"),
            key="repair_shown",
            icon=":material/build:",
            type="tertiary",
            help=HELP["repaired"],
            on_click=state.store,
            args=("repair shown", cache.mask_key(plan)),
        )
        return
    with place, st.spinner(_("Recalibrating …")):
        with_bn = _words(cache.accuracy(repaired, space), dense, WITH_BN)
    place.markdown(f"{said} · {with_bn}", help=HELP["repaired"])


def _costs_much(plan: Plan, space: Workspace) -> bool:
    """Would the measurement with recalibrated norms take long, and has nobody asked for it?"""
    samples = min(plan.calibration, len(space.dataset.train)) + plan.probe
    macs = sum(layer.macs for layer in space.layers) * samples
    asked = state.stored("repair shown", "") == cache.mask_key(plan)
    return macs > QUICK and plan.repair == NONE and not asked


def _words(value: Evaluation, dense: Evaluation, words: str) -> str:
    task = value.task
    gap = change_text(value.value - dense.value, task) + points(task)
    return _(words, value=value_text(value.value, task), change=gap)

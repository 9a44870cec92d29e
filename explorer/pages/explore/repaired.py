"""The accuracy as pruned and with batch-norm statistics measured again, side by side."""

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.session import cache, state
from explorer.texts.formats import change_text, points, value_text
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
    """A place as high as the line, until `repaired_caption` fills it.

    None for a network without batch norms.
    """
    if repair_note(replace(plan, repair=BN), space) is not None:
        return None
    place = st.container(key="repaired_line")
    place.empty()
    return place


def repaired_caption(place: DeltaGenerator, plan: Plan, space: Workspace) -> None:
    """Both values in one line. For a costly network there is a button first."""
    repaired = replace(plan, repair=BN)
    samples = min(plan.calibration, len(space.dataset.train)) + plan.probe
    macs = sum(layer.macs for layer in space.layers) * samples
    asked = state.stored("repair shown", "") == cache.mask_key(plan)
    if macs > QUICK and plan.repair == NONE and not asked:
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
        dense = cache.dense_accuracy(plan, space)
        pruned = _words(cache.accuracy(replace(plan, repair=NONE), space), dense, AS_PRUNED)
        with_bn = _words(cache.accuracy(repaired, space), dense, WITH_BN)
    place.caption(f":material/build: {pruned} · {with_bn}", help=HELP["repaired"])


def _words(value: Evaluation, dense: Evaluation, words: str) -> str:
    task = value.task
    gap = change_text(value.value - dense.value, task) + points(task)
    return _(words, value=value_text(value.value, task), change=gap)

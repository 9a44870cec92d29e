"""The measured effect of ratios that are set in the plan."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.pages.sensitivity.run import accuracy_alone, by_layer
from explorer.session import cache
from explorer.texts.formats import interval, percent, signed, title, value_text
from explorer.texts.glossary_links import glossary_link
from explorer.texts.help import HELP, TEXTS
from explorer.texts.task_words import delta_color, value_help
from explorer.texts.translate import _, from_core
from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.plan import Plan
from pruning_core.tasks import change
from pruning_core.types import Evaluation, Layer, Ratios, SensitivityPoint
from pruning_core.workspaces import Workspace

UNIFORM = "uniform"
CARD: dict[str, Any] = {"border": True, "height": "stretch"}
QUIET: dict[str, Any] = CARD | {"delta_color": "off", "delta_arrow": "off"}


def applied_section(
    plan: Plan,
    space: Workspace,
    prunable: tuple[Layer, ...],
    points: Sequence[SensitivityPoint],
    ratios: Ratios,
) -> None:
    """The measured effect of all ratios together."""
    with st.skeleton(height=120):
        now = cache.accuracy(plan, space)
        uniform = cache.accuracy(_uniform(plan, prunable, ratios), space)
        dense = cache.dense_accuracy(plan, space)
        report = cache.report(plan, space)
    task = space.dataset.task
    difference = change(dense, now)
    numbers = st.grid(3, min_column_width=250)
    numbers.metric(
        _("{value} together · measured", value=title(task)),
        value_text(now.value, task),
        signed(difference.value, difference.interval, task),
        delta_color=delta_color(difference, task),
        help=value_help(task),
        delta_description=_("from {value} dense", value=value_text(dense.value, task)),
        **CARD,
    )
    numbers.metric(
        _("Worst layer alone · estimated"),
        value_text(_worst_alone(prunable, points, ratios), task),
        help=HELP["worst_alone"],
        **CARD,
    )
    numbers.metric(
        _("Weights removed · computed"),
        percent(report.sparsity_model),
        _("{share} of the prunable weights", share=percent(report.sparsity_masked)),
        help=_removed_help(prunable, ratios),
        **QUIET,
    )
    _against_uniform(uniform, now)
    _note(now)


def _uniform(plan: Plan, prunable: tuple[Layer, ...], ratios: Ratios) -> Plan:
    """The plan with one ratio for all layers, of the same number of weights."""
    share = total_ratio(prunable, {layer.name: 0.0 for layer in prunable} | dict(ratios))
    return replace(plan, allocation=UNIFORM, sparsity=share, overrides=(), edits=())


def _against_uniform(uniform: Evaluation, now: Evaluation) -> None:
    """The value before and after, its change, and whether that can be chance."""
    difference = change(uniform, now)
    words = signed(difference.value, difference.interval, now.task)
    st.markdown(
        _(
            "**{name} → these ratios**, at the same sparsity: {before} → {after}, {change}.",
            name=from_core(ALLOCATIONS[UNIFORM].label),
            before=value_text(uniform.value, now.task),
            after=value_text(now.value, now.task),
            change=words if difference.certain else _("{change} (can be chance)", change=words),
        )
    )


def _note(now: Evaluation) -> None:
    st.caption(
        _(
            "Measured on {n:,} probe {samples}, 95% interval {interval}. Nothing was trained: "
            "*Fine-tune & compare* shows how much {value} returns.",
            n=now.n,
            samples=from_core(now.task.samples),
            interval=interval(now),
            value=from_core(now.task.value_label),
        )
    )


def _removed_help(prunable: tuple[Layer, ...], ratios: Ratios) -> str:
    requested = _requested(prunable, ratios)
    return f"{_(TEXTS['removed'])}{requested}\n\n{glossary_link('removed')}"


def _requested(prunable: tuple[Layer, ...], ratios: Ratios) -> str:
    """The requested fraction of all weights, where every layer has a ratio."""
    if len(ratios) != len(prunable):
        return ""
    return _(" Requested: {share}.", share=percent(total_ratio(prunable, ratios)))


def _worst_alone(
    prunable: tuple[Layer, ...], points: Sequence[SensitivityPoint], ratios: Ratios
) -> float:
    """The worst estimated value of one layer pruned alone at its ratio."""
    curves = by_layer(points)
    sign = points[0].task.sign
    return sign * min(
        sign * accuracy_alone(curves[layer.name], ratios[layer.name])
        for layer in prunable
        if layer.name in ratios
    )

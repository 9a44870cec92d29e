"""What follows from the curves: a ranking at one sparsity, and ratios per layer for a target."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from explorer.charts import alt, sensitivity_slice
from explorer.pages.sensitivity.applied import applied_section
from explorer.pages.sensitivity.rule_choice import choose_rule
from explorer.pages.sensitivity.run import (
    ScanRequest,
    accuracy_alone,
    by_layer,
    rounded,
    unprunable_layers,
)
from explorer.pages.sensitivity.together import measured_together, together_section
from explorer.session import cache, state
from explorer.session.foldable import foldable
from explorer.session.notices import plain
from explorer.texts.formats import (
    scale,
    title,
    whole_percent,
)
from explorer.texts.help import HELP
from explorer.texts.task_words import paired_words
from explorer.texts.translate import N_, _, from_core
from pruning_core.granularity import fixed_ratio_reason, granularity
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import CORRECTED
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.ratios import FromSensitivity, Limits
from pruning_core.tasks import Task
from pruning_core.types import Layer, Ratios, SensitivityPoint
from pruning_core.workspaces import Workspace

ROW_HEIGHT = 35
MOST_ROWS = 14
TENTHS = "%.1f%%"
TIED_MASKS = N_(
    "Tied layers get one ratio, measured with the same channels removed from all of them. The "
    "plan's masks stay per layer: each layer then loses its own lowest filters, which may be other "
    "channels. So measure the plan itself."
)


def slice_section(points: Sequence[SensitivityPoint], asked: ScanRequest) -> None:
    """All layers at one sparsity, the most sensitive first."""
    st.subheader(_("Which layer is most sensitive?"), anchor=False)
    grid = [round(100 * share) for share in asked.grid if share]
    at = grid[-1]
    if len(grid) > 1:
        state.keep_widget("slice")
        at = st.select_slider(
            _("Sparsity of each layer alone"),
            grid,
            80 if 80 in grid else grid[len(grid) // 2],
            format_func=lambda share: f"{share}%",
            key="slice",
            bind="query-params",
            help=HELP["slice"],
            width=520,
        )
    at_sparsity = [point for point in points if round(100 * point.sparsity) == at]
    if ranked := [point for point in at_sparsity if not point.no_op]:
        figure = sensitivity_slice(ranked)
        st.plotly_chart(
            figure, key="sensitivity_slice", alt=alt(figure), config={"displayModeBar": False}
        )
        st.caption(_("{interval} Whiskers show it.", interval=paired_words(ranked[0].task)))
    slow_note(points)
    for why, names in _not_ranked(at_sparsity).items():
        st.caption(
            _(
                "Not prunable here, so not ranked: {names}. {why}",
                names=", ".join(names),
                why=plain(why),
            )
        )


def slow_note(points: Sequence[SensitivityPoint | Band]) -> None:
    """Shows the reason where every point took a full forward pass."""
    if (reason := next((point.in_full for point in points), None)) is not None:
        st.caption(
            ":material/hourglass_top: "
            + _(
                "Every point took a full forward pass: {reason}. The numbers are the same.",
                reason=plain(reason),
            )
        )


def _not_ranked(points: Sequence[SensitivityPoint]) -> dict[str, list[str]]:
    """The layers that lost nothing at this sparsity, by the reason."""
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.no_op:
            why = point.why or _("No whole group is removed at this sparsity.")
            reasons.setdefault(why, []).append(point.parameter)
    return reasons


def target_section(
    plan: Plan,
    space: Workspace,
    prunable: tuple[Layer, ...],
    points: Sequence[SensitivityPoint],
    obstacle: str,
) -> None:
    """Ratios from the curves that remove the target in total.

    obstacle: why there are none now, or an empty text.
    """
    st.subheader(_("Use as per-layer ratios for a target"), anchor=False)
    chosen = granularity(plan.granularity)
    if (fixed := fixed_ratio_reason(chosen)) is not None:
        st.info(from_core(fixed))
        return
    if obstacle:
        st.info(obstacle, icon=":material/history:")
        return
    if chosen.ties_layers and any(point.group for point in points):
        st.caption(_(TIED_MASKS))
    target = _target(plan)
    joints = measured_together(plan, target / 100, len(prunable))
    chosen_rule, unit = choose_rule(joints, space.dataset)
    limits = _limits()
    if chosen_rule == CORRECTED:
        ratios: Ratios = dict(joints[-1].ratios)
    else:
        rule = FromSensitivity(tuple(points), chosen_rule, unit, limits)
        ratios = _ratios_by(rule, plan, space, prunable, target / 100)
    _table(plan, prunable, points, ratios)
    applied = dict(plan.overrides) == ratios
    _apply_buttons(plan, ratios, applied)
    if applied:
        applied_section(plan, space, prunable, points, ratios)
    if len(measured_together(plan, target / 100, len(prunable))) != len(joints):
        st.rerun()  # it ended while the rule was drawn
    together_section(plan, space, points, target / 100, len(prunable))


def _ratios_by(
    rule: FromSensitivity, plan: Plan, space: Workspace, prunable: tuple[Layer, ...], target: float
) -> Ratios:
    """The ratios of a rule that reads single curves."""
    groups = cache.groups(plan, space)
    counts = (
        {name: scores.shape[1] for name, scores in groups.items()}
        if rule.limits.multiple > 1
        else None
    )
    return rounded(rule(prunable, groups, target), counts)


def _target(plan: Plan) -> int:
    """The target in percent; at first, the plan's own sparsity."""
    state.keep_widget("target")
    return int(
        st.slider(
            _("Target sparsity"),
            5,
            95,
            min(95, max(5, whole_percent(plan.sparsity))),
            step=1,
            format="%d%%",
            key="target",
            bind="query-params",
            help=HELP["target"],
            width=520,
        )
    )


def _apply_buttons(plan: Plan, ratios: Ratios, applied: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Apply to the plan"),
            type="primary",
            key="target_apply",
            icon=":material/check:",
            disabled=applied,
            help=_(
                "Sets every scanned layer's ratio by hand, as on the Explore page. The address "
                "contains the ratios."
            ),
            on_click=state.set_ratios,
            args=(ratios,),
        )
        if plan.overrides:
            st.button(
                _("Reset all ratios set by hand"),
                key="target_reset",
                icon=":material/undo:",
                help=HELP["reset_all"],
                on_click=state.set_ratios,
                args=({},),
            )


def _limits() -> Limits:
    """The limits of every layer's ratio."""
    with (
        foldable(_("Limits"), "limits_shown", ":material/vertical_align_center:"),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        state.keep_widget("bounds")
        state.keep_widget("multiple")
        least, most = st.slider(
            _("Least and most ratio of a layer"),
            0,
            100,
            (0, 100),
            format="%d%%",
            key="bounds",
            bind="query-params",
            width=420,
            help=HELP["bounds"],
        )
        multiple = st.number_input(
            _("Keep a multiple of this many groups"),
            1,
            128,
            1,
            key="multiple",
            bind="query-params",
            width=280,
            help=HELP["multiple"],
        )
    limits = Limits(least / 100, most / 100, int(multiple))
    if limits != Limits():
        words = N_(
            "Limits are set: remove {least}% to {most}% of each layer, keep groups in multiples "
            "of {multiple}."
        )
        st.caption(_(words, least=least, most=most, multiple=multiple))
    return limits


def _table(
    plan: Plan, prunable: tuple[Layer, ...], points: Sequence[SensitivityPoint], ratios: Ratios
) -> None:
    """The ratio of each layer, the smallest first, with the accuracy of its curve there."""
    curves = by_layer(points)
    task = points[0].task
    without_effect = unprunable_layers(points)
    by_hand = dict(plan.overrides)
    rows = [
        {
            "Layer": name,
            "Weights": layer.numel,
            "Ratio": 100 * ratios[name],
            "Set now": 100 * by_hand[name] if name in by_hand else None,
            "Alone": scale(task) * accuracy_alone(curves[name], ratios[name]),
            "Note": _("not prunable here") if name in without_effect else partners(curves[name]),
        }
        for layer in sorted(prunable, key=lambda layer: ratios.get(layer.name, 0.0))
        if (name := layer.name) in ratios
    ]
    frame = pd.DataFrame(rows).astype({"Set now": float})
    st.dataframe(
        frame if any(row["Note"] for row in rows) else frame.drop(columns="Note"),
        hide_index=True,
        height="content" if len(rows) <= MOST_ROWS else (MOST_ROWS + 1) * ROW_HEIGHT + 3,
        placeholder="–",
        column_config=_columns(task),
        alt=_(
            "Suggested ratio of every layer, with the {value} of its curve at that ratio.",
            value=from_core(task.value_label),
        ),
    )
    st.caption(_("The smallest ratio is first. Click a heading for another order."))


def _columns(task: Task) -> dict[str, Any]:
    config = st.column_config
    return {
        "Layer": config.TextColumn(
            _("Layer"),
            help=_("The parameter's name in the network's state_dict."),
            pinned=True,
            width=240,
        ),
        "Weights": config.NumberColumn(_("Weights"), format="localized", width=80),
        "Ratio": config.ProgressColumn(
            _("Ratio"),
            help=_("Fraction of the groups to remove."),
            format=TENTHS,
            min_value=0,
            max_value=100,
        ),
        "Set now": config.NumberColumn(
            _("Set now"),
            help=_("The ratio set by hand in the present plan."),
            format=TENTHS,
        ),
        "Alone": config.NumberColumn(
            _("{value}, alone", value=title(task)),
            help=_("Estimated: read from the layer's curve."),
            format=TENTHS if task.percent else "%.4g",
        ),
        "Note": config.TextColumn(_("Note")),
    }


def partners(curve: Sequence[SensitivityPoint]) -> str:
    """The layers that are pruned together with this one; a row has the place for one name."""
    others = [name for name in curve[0].group if name != curve[0].parameter]
    if len(others) > 1:
        return _("pruned with {name} and {n} more", name=others[0], n=len(others) - 1)
    return _("pruned with {name}", name=others[0]) if others else ""

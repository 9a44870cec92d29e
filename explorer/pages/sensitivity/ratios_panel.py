"""What the curves are good for: a slice at one sparsity, and ratios per layer for a target."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from explorer.charts import alt, sensitivity_slice
from explorer.pages.sensitivity.run import ScanRequest, alone, by_layer, rounded, untouched
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import interval, percent, signed, whole_percent
from explorer.texts.help import HELP
from pruning_core.allocation import total_ratio
from pruning_core.evaluation.intervals import change
from pruning_core.granularity import fixed_ratio_reason, granularity
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.ratios import FromSensitivity, Limits
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, TARGET_UNITS
from pruning_core.types import Evaluation, Layer, Ratios, SensitivityPoint
from pruning_core.workspace import Workspace

ROW_HEIGHT = 35
MOST_ROWS = 14
TENTHS = "%.1f%%"
SHARES = {"weights": "Weights", "macs": "Multiply-adds"}
BLIND = "Curves are made to rise first, and layers whose curves differ by less than these images can tell get nearly the same ratio."
_HOW = "\n\n".join(
    f"**{rule.label}**: {rule.help} `{rule.formula}` ({rule.source})"
    for rule in SENSITIVITY_RULES.values()
)
CARD: dict[str, Any] = {"border": True, "height": "stretch"}


def slice_section(points: Sequence[SensitivityPoint], asked: ScanRequest) -> None:
    """All layers at one sparsity, the most sensitive first."""
    st.subheader("Which layer hurts most?", anchor=False)
    grid = [round(100 * share) for share in asked.grid if share]
    at = grid[-1]
    if len(grid) > 1:
        at = st.select_slider(
            "Sparsity of each layer alone",
            grid,
            _middle(grid),
            format_func=lambda share: f"{share}%",
            key="slice",
            bind="query-params",
            help=HELP["slice"],
            width=520,
        )
    there = [p for p in points if round(100 * p.sparsity) == at]
    if ranked := [point for point in there if not point.no_op]:
        figure = sensitivity_slice(ranked)
        st.plotly_chart(
            figure, key="sensitivity_slice", alt=alt(figure), config={"displayModeBar": False}
        )
        st.caption(f"{HELP['paired']} Whiskers show it.")
    slow_note(points)
    for why, names in _not_ranked(there).items():
        st.caption(f"Not prunable here, so not ranked: {', '.join(names)}. {plain(why)}")


def slow_note(points: Sequence[SensitivityPoint | Band]) -> None:
    """Says so where torch.fx could not trace the network."""
    if (slow := next((point.in_full for point in points), None)) is not None:
        st.caption(
            f":material/hourglass_top: Every point took a full forward pass: {plain(slow)}. The numbers are the same."
        )


def _not_ranked(points: Sequence[SensitivityPoint]) -> dict[str, list[str]]:
    """The layers that lost nothing at this sparsity, by the reason."""
    found: dict[str, list[str]] = {}
    for point in (point for point in points if point.no_op):
        found.setdefault(point.why or "No whole group goes at this sparsity.", []).append(
            point.parameter
        )
    return found


def _middle(grid: list[int]) -> int:
    return 80 if 80 in grid else grid[len(grid) // 2]


def target_section(
    plan: Plan,
    space: Workspace,
    able: tuple[Layer, ...],
    points: Sequence[SensitivityPoint],
    why_not: str,
) -> None:
    """Ratios by the curves that remove the target in total."""
    st.subheader("Use as per-layer ratios for a target", anchor=False)
    if (settled := fixed_ratio_reason(granularity(plan.granularity))) is not None:
        st.info(settled)
        return
    if why_not:
        st.info(why_not, icon=":material/history:")
        return
    if granularity(plan.granularity).ties_layers and any(point.group for point in points):
        st.caption(
            "Tied layers get one ratio, measured with the same channels removed from all of them. The plan's masks stay per "
            "layer: each then loses its own lowest filters, which need not be the same channels, so measure the plan itself."
        )
    target = st.slider(
        "Target sparsity",
        5,
        95,
        _planned(plan),
        step=1,
        format="%d%%",
        key="target",
        bind="query-params",
        help=HELP["target"],
        width=520,
    )
    how = FromSensitivity(tuple(points), *_ways(), _limits())
    groups = cache.groups(plan, space)
    counts = (
        {name: found.shape[1] for name, found in groups.items()}
        if how.limits.multiple > 1
        else None
    )
    ratios = rounded(how(able, groups, target / 100), counts)
    _table(plan, able, points, ratios)
    applied = dict(plan.overrides) == ratios
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Apply to the plan",
            type="primary",
            key="target_apply",
            icon=":material/check:",
            disabled=applied,
            help="Sets every scanned layer's ratio by hand, as on the Explore page; the address carries them.",
            on_click=state.set_ratios,
            args=(ratios,),
        )
        if plan.overrides:
            st.button(
                "Take back all ratios set by hand",
                key="target_reset",
                icon=":material/undo:",
                help=HELP["reset_all"],
                on_click=state.set_ratios,
                args=({},),
            )
    if applied:
        _measured(plan, space, able, points, ratios)


def _ways() -> tuple[str, str]:
    """How the target is shared out, and what it is a share of."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        how = st.selectbox(
            "How",
            tuple(SENSITIVITY_RULES),
            format_func=lambda key: SENSITIVITY_RULES[key].label,
            key="ratios_how",
            bind="query-params",
            width=250,
            help=_HOW,
        )
        weigh = st.selectbox(
            "A share of",
            tuple(TARGET_UNITS),
            format_func=lambda key: SHARES[key],
            key="ratios_of",
            bind="query-params",
            width=190,
            help="What the target counts, over the scanned layers.",
        )
    st.caption(f"{SENSITIVITY_RULES[how].help} {BLIND}")
    return how, weigh


def _limits() -> Limits:
    """What every layer's ratio has to keep to."""
    with (
        st.expander("Limits", icon=":material/vertical_align_center:"),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        least, most = st.slider(
            "Least and most ratio of a layer",
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
            "Keep a multiple of so many groups",
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
        st.caption(
            f"Limits are set: {least}% to {most}% of each layer, what stays in multiples of {multiple}."
        )
    return limits


def _planned(plan: Plan) -> int:
    """Where the target starts: the plan's own sparsity, in whole percent."""
    return min(95, max(5, whole_percent(plan.sparsity)))


def _table(
    plan: Plan, able: tuple[Layer, ...], points: Sequence[SensitivityPoint], ratios: Ratios
) -> None:
    curves = by_layer(points)
    idle = untouched(points)
    by_hand = dict(plan.overrides)
    rows = [
        {
            "Layer": layer.name,
            "Weights": layer.numel,
            "Ratio": 100 * ratios[layer.name],
            "Set now": 100 * by_hand[layer.name] if layer.name in by_hand else None,
            "Alone": 100 * alone(curves[layer.name], ratios[layer.name]),
            "Note": "not prunable here" if layer.name in idle else _together(curves[layer.name]),
        }
        for layer in able
        if layer.name in ratios
    ]
    frame = pd.DataFrame(rows).astype({"Set now": float})
    config = st.column_config
    st.dataframe(
        frame if any(row["Note"] for row in rows) else frame.drop(columns="Note"),
        hide_index=True,
        height=(min(len(rows), MOST_ROWS) + 1) * ROW_HEIGHT + 3,
        placeholder="–",
        column_config={
            "Layer": config.TextColumn(
                help="The parameter's name in the network's state_dict.", pinned=True, width=240
            ),
            "Weights": config.NumberColumn(format="localized", width=80),
            "Ratio": config.ProgressColumn(
                help="Share of the groups to remove.", format=TENTHS, min_value=0, max_value=100
            ),
            "Set now": config.NumberColumn(
                help="The ratio set by hand in the present plan.", format=TENTHS
            ),
            "Alone": config.NumberColumn(
                "Accuracy, alone", help="Estimated: read from the layer's curve.", format=TENTHS
            ),
        },
        alt="Suggested ratio of every layer, with the accuracy that its curve promises.",
    )


def _together(curve: Sequence[SensitivityPoint]) -> str:
    others = [name for name in curve[0].group if name != curve[0].parameter]
    return f"cut with {', '.join(others)}" if others else ""


def _paired(
    dense: Evaluation, now: Evaluation, plan: Plan, space: Workspace
) -> tuple[float, tuple[float, float]]:
    found = change(dense, now, cache.probe(plan, space).labels)
    return found.value, found.interval


def _measured(
    plan: Plan,
    space: Workspace,
    able: tuple[Layer, ...],
    points: Sequence[SensitivityPoint],
    ratios: Ratios,
) -> None:
    """What all ratios together do to the network."""
    with st.skeleton(height=120):
        now = cache.accuracy(plan, space)
        dense = cache.dense_accuracy(plan, space)
        report = cache.report(plan, space)
    curves = by_layer(points)
    told = signed(*_paired(dense, now, plan, space))
    worst = min(
        alone(curves[layer.name], ratios[layer.name]) for layer in able if layer.name in ratios
    )
    wanted = total_ratio(able, ratios) if len(ratios) == len(able) else None
    numbers = st.grid(3, min_column_width=220)
    numbers.metric(
        "Accuracy together · measured",
        percent(now.top1),
        told,
        help=HELP["accuracy"],
        delta_description=f"from {percent(dense.top1)} dense",
        **CARD,
    )
    numbers.metric(
        "Worst layer alone · estimated", percent(worst), help=HELP["worst_alone"], **CARD
    )
    asked = f" Asked for: {percent(wanted)}." if wanted is not None else ""
    numbers.metric(
        "Weights removed · computed",
        percent(report.sparsity_masked),
        help=HELP["achieved"] + asked,
        **CARD,
    )
    st.caption(
        f"Measured on {now.n:,} probe images, 95% interval {interval(now)}. Nothing was re-trained: "
        "*Fine-tune & compare* shows how much comes back."
    )

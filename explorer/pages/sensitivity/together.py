"""The whole plan with the ratios of every rule, measured together and corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import streamlit as st

from explorer.jobs.progress import Progress
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.formats import interval, title, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from explorer.training.status import active_job, ended, is_active, newest_run, repeated, start_job
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import (
    CORRECTED,
    Joint,
    corrected,
    parts,
    start_label,
    steps,
)
from pruning_core.types import Ratios, SensitivityPoint
from pruning_core.workspaces import Workspace

KIND = "together"
LEAD = N_(
    "A curve shows one layer pruned alone. *Measure together* prunes the whole plan with the "
    "ratios of every rule, then moves single ratios while the loss of the whole plan falls. "
    "Nothing is trained. The target counts weights; limits have no effect here."
)


@dataclass(frozen=True)
class TogetherRequest:
    """key: of the plan at the target, without ratios set by hand; layers: how many it prunes."""

    key: str
    layers: int


def together_section(
    plan: Plan, space: Workspace, points: Sequence[SensitivityPoint], target: float, layers: int
) -> None:
    """Draws the button, the progress, and the table of rules with the corrected ratios."""
    st.subheader(_("Which ratios are best for the whole plan?"), anchor=False)
    at_target = replace(plan, sparsity=target, overrides=())
    asked = TogetherRequest(_key(at_target), layers)
    run = newest_run(KIND, asked)
    active = is_active(run)
    st.caption(_(LEAD))
    st.button(
        _("Measure together"),
        key="together_start",
        icon=":material/join_inner:",
        disabled=active or (run is not None and run.status == "done"),
        help=HELP["together"],
        on_click=_start,
        args=(at_target, space, tuple(points), asked),
    )
    repeated(_live, active)(plan, asked, active)


def measured_together(plan: Plan, target: float, layers: int) -> tuple[Joint, ...]:
    """What a finished measurement at this target found, the best last; empty before one."""
    asked = TogetherRequest(_key(replace(plan, sparsity=target, overrides=())), layers)
    run = newest_run(KIND, asked)
    if run is None or run.status != "done":
        return ()
    return tuple(event for event in run.events if isinstance(event, Joint))


def at_chance(joint: Joint, classes: int) -> bool:
    """Can its accuracy be that of an answer by chance? classes: equally frequent ones."""
    low, high = joint.evaluation.interval
    return joint.evaluation.classes is not None and low <= 1 / classes <= high


def _live(plan: Plan, asked: TogetherRequest, was_active: bool) -> None:
    """Progress and table; runs again by itself during a run."""
    with show_errors():
        run = newest_run(KIND, asked)
        if run is None:
            return
        if was_active and not run.active:
            st.rerun()
        joints = tuple(event for event in run.events if isinstance(event, Joint))
        if run.active:
            share = min(1.0, len(joints) / steps(asked.layers))
            active_job(
                run,
                Progress(share, None, _("whole plans are measured")),
                "together_stop",
                _("Stops within one measurement. Measured rules are kept."),
            )
        else:
            ended(run, _("measurement"), _("; measured rules are kept."))
        if joints:
            _table(joints)
            _apply(plan, joints[-1].ratios, ready=run.status == "done")


def start_words(name: str) -> str:
    """The name of a `Joint` in the page's language, such as "Uniform and Global" for a blend."""
    words = [from_core(start_label(part)) for part in parts(name)]
    return _("{one} and {other}", one=words[0], other=words[1]) if len(words) > 1 else words[0]


def _table(joints: Sequence[Joint]) -> None:
    """The measured value of the whole plan with every rule, the best first."""
    task = joints[0].evaluation.task
    best: Mapping[str, Joint] = {joint.name: joint for joint in joints}
    ordered = sorted(best.values(), key=lambda joint: joint.evaluation.loss)
    rows = [
        {
            _("Ratios by"): start_words(joint.name),
            title(task): value_text(joint.evaluation.value, task),
            _("95% interval"): interval(joint.evaluation),
            _("Loss"): joint.evaluation.loss,
        }
        for joint in ordered
    ]
    n = joints[0].evaluation.n
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content",
        column_config={_("Loss"): st.column_config.NumberColumn(format="%.3f", width=80)},
        alt=_(
            "Measured {value} of the whole plan with the ratios of every rule.",
            value=from_core(task.value_label),
        ),
    )
    st.caption(
        _(
            "Measured on {n:,} probe {samples}, lowest loss first. The corrected ratios were "
            "chosen on these {samples}: *Fine-tune & compare* and *Export* measure on others.",
            n=n,
            samples=from_core(task.samples),
        )
    )


def _apply(plan: Plan, ratios: Ratios, *, ready: bool) -> None:
    applied = dict(plan.overrides) == ratios
    st.button(
        _("Applied to the plan") if applied else _("Apply the best ratios to the plan"),
        key="together_apply",
        icon=":material/check:",
        disabled=applied or not ready,
        help=_("Sets every layer's ratio by hand. The address contains the ratios."),
        on_click=state.set_ratios,
        args=(ratios,),
    )


def _start(
    plan: Plan, space: Workspace, points: tuple[SensitivityPoint, ...], asked: TogetherRequest
) -> None:
    work = cache.work(plan, space, partial(corrected, plan, points=points))
    start_job(KIND, N_("Ratios of the whole plan"), work, asked)


def _key(plan: Plan) -> str:
    return repr((cache.repair_key(plan), plan.calibration, plan.probe, CORRECTED))

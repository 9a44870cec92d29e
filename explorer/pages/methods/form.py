"""The form of a study: methods, compressions and seeds in the page's own part of the address; the
training is the plan's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.pages.methods.run import (
    OFFERED,
    OTHERS,
    SHAPES,
    Choices,
    choices,
    chosen_in,
    offered_parts,
    part_words,
    study_words,
)
from explorer.session import state
from explorer.session.notices import plain
from explorer.texts.help import HELP
from explorer.texts.plan_words import flow_words
from explorer.training.form import training_form
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, is_custom
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.studies import Study, count_saved_runs, saved_studies, study_folder
from pruning_core.types import PruningError
from pruning_core.workspace import Workspace

KEY = "study"
MOST_LISTED = 12


def choices_now() -> Choices:
    """What the page's address says; a text that cannot be used is told and forgotten."""
    text = state.page_text(KEY)
    try:
        return choices(text)
    except PruningError as problem:
        st.warning(
            f"{plain(str(problem))} The address's '{KEY}' was ignored.", icon=":material/info:"
        )
        return Choices()


def methods_form(plan: Plan, space: Workspace, chosen: Choices, base: str) -> None:
    """All choices of a study. base: the fingerprint of network and images."""
    _earlier(base)
    _many(
        "Criteria, besides Random and Magnitude (L1)",
        "criteria",
        chosen,
        OTHERS,
        lambda name: CRITERIA[name].label,
    )
    left, right = st.columns(2)
    with left:
        _many(
            "Shapes of a cut", "granularities", chosen, SHAPES, lambda name: granularity(name).label
        )
    with right:
        _many("Compressions", "compressions", chosen, OFFERED, lambda value: f"{value:g}×")
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    _single("seeds", chosen)
    row.number_input(
        "Seeds",
        1,
        max(20, chosen.seeds),
        step=1,
        key="study_seeds",
        help=HELP["study_seeds"],
        on_change=_changed,
        args=("seeds",),
    )
    _single("images", chosen)
    sizes = sorted({*offered_parts(len(space.dataset.train)), chosen.images})
    row.selectbox(
        "Training images per run",
        sizes,
        format_func=part_words,
        key="study_images",
        help=HELP["study_images"],
        on_change=_changed,
        args=("images",),
    )
    with st.expander("Fine-tuning of every run", icon=":material/model_training:"):
        st.caption(
            "The same for all runs; shared with the other pages. The seed changes from run to run."
        )
        training_form(plan)
    flow = "" if plan.flow == Plan().flow else f"Flow: {flow_words(plan.flow)} (page Flows). "
    st.caption(
        f"Share per layer: {ALLOCATIONS[plan.allocation].label}, for every method (side bar). {flow}The side bar's "
        "importance, shape and sparsity do not matter here."
    )


def _many(label: str, field: str, chosen: Choices, options: Sequence[Any], shown: Any) -> None:
    mine = list(getattr(chosen, field))
    state.set_widget(f"study_{field}", mine)
    st.multiselect(
        label,
        [*options, *(each for each in mine if each not in options)],
        format_func=shown,
        wrap=True,
        key=f"study_{field}",
        help=HELP[f"study_{field}"],
        on_change=_changed,
        args=(field,),
    )


def _single(field: str, chosen: Choices) -> None:
    state.set_widget(f"study_{field}", getattr(chosen, field))


def _changed(field: str) -> None:
    """The address takes the widget's value."""
    before = choices_or_default()
    value = state.widget_value(f"study_{field}", getattr(before, field))
    change: dict[str, Any] = {field: tuple(value) if isinstance(value, list) else value}
    state.set_page_text(KEY, replace(before, **change).to_text())


def choices_or_default() -> Choices:
    """For callbacks: the choices that the page shows."""
    try:
        return choices(state.stored(KEY, ""))
    except PruningError:
        return Choices()


def _earlier(base: str) -> None:
    """Studies of this network and these images that are on disk; choosing one sets everything as it
    was.
    """
    found = [study for study in saved_studies(base) if not any(map(is_custom, study.criteria))][
        :MOST_LISTED
    ]
    if not found:
        return
    st.selectbox(
        "Earlier studies",
        found,
        index=None,
        placeholder=f"{len(found)} on disk: choose one to see it again",
        format_func=lambda study: f"{found.index(study) + 1}. {_named(study, base)}",
        key="study_earlier",
        help=HELP["study_earlier"],
        on_change=_chosen,
    )


def _named(study: Study, base: str) -> str:
    names = ", ".join(CRITERIA[name].label for name in study.criteria)
    done = count_saved_runs(study_folder(study, base))
    config = study.plan.fine_tune
    how = f"{config.epochs} epoch{'s' * (config.epochs != 1)} on {part_words(study.images)} images"
    return f"{study_words(study)}, {how}: {done} of {len(study.runs)} runs done · {names}"


def _chosen() -> None:
    study: object = state.widget_value("study_earlier", None)
    if isinstance(study, Study):
        show(study)
    state.set_widget("study_earlier", None)


def show(asked: Study) -> None:
    """Sets the page's choices and the plan to those of a study."""
    then = asked.plan
    state.set_page_text(KEY, chosen_in(asked).to_text())
    state.change(
        model=then.model,
        dataset=then.dataset,
        allocation=then.allocation,
        schedule=then.schedule,
        flow=then.flow,
        calibration=then.calibration,
        allow_collapse=then.allow_collapse,
        fine_tune=then.fine_tune,
        overrides=(),
        edits=(),
    )

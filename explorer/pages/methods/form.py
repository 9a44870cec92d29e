"""The form of a study: its own choices are in the address, its training is the plan's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.pages.methods.choices import (
    OFFERED_COMPRESSIONS,
    OFFERED_CRITERIA,
    OFFERED_GRANULARITIES,
    Choices,
    choices,
    choices_of,
    image_options,
    images_words,
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
from pruning_core.workspaces import Workspace

KEY = "study"
MOST_LISTED = 12


def choices_now() -> Choices:
    """The choices in the page's address; for an invalid text a warning and the defaults."""
    text = state.page_text(KEY)
    try:
        return choices(text)
    except PruningError as problem:
        st.warning(
            f"{plain(str(problem))} The address's '{KEY}' was ignored.", icon=":material/info:"
        )
        return Choices()


def choices_or_default() -> Choices:
    """The choices that the page shows, for callbacks."""
    try:
        return choices(state.stored(KEY, ""))
    except PruningError:
        return Choices()


def methods_form(plan: Plan, space: Workspace, chosen: Choices, base: str) -> None:
    """All choices of a study. base: the fingerprint of network and images."""
    _earlier_studies(base)
    _methods(chosen)
    _repetitions(space, chosen)
    with st.expander("Training of every run", icon=":material/model_training:"):
        st.caption(
            "All runs have the same training settings, which are also those of the other pages. "
            "Only the seed differs between runs."
        )
        training_form(plan)
    st.caption(_other_choices(plan))


def _methods(chosen: Choices) -> None:
    """Criteria, granularities and compressions."""
    _several(
        "Criteria, besides Random and Magnitude (L1)",
        "criteria",
        chosen,
        OFFERED_CRITERIA,
        lambda name: CRITERIA[name].label,
    )
    left, right = st.columns(2)
    with left:
        _several(
            "Granularities",
            "granularities",
            chosen,
            OFFERED_GRANULARITIES,
            lambda name: granularity(name).label,
        )
    with right:
        _several(
            "Compressions",
            "compressions",
            chosen,
            OFFERED_COMPRESSIONS,
            lambda value: f"{value:g}×",
        )


def _repetitions(space: Workspace, chosen: Choices) -> None:
    """Number of seeds, and of training images per run; is time measured?"""
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    state.set_widget("study_seeds", chosen.seeds)
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
    state.set_widget("study_images", chosen.images)
    row.selectbox(
        f"Training {space.dataset.task.samples} per run",
        sorted({*image_options(len(space.dataset.train)), chosen.images}),
        format_func=images_words,
        key="study_images",
        help=HELP["study_images"],
        on_change=_changed,
        args=("images",),
    )
    state.set_widget("study_time", chosen.time)
    row.toggle(
        "Measure time",
        key="study_time",
        help=HELP["study_time"],
        on_change=_changed,
        args=("time",),
    )


def _other_choices(plan: Plan) -> str:
    """Which choices of the plan a study uses, and which it does not."""
    sentences = [f"All methods use the allocation {ALLOCATIONS[plan.allocation].label} (side bar)."]
    if plan.flow != Plan().flow:
        sentences.append(f"Flow: {flow_words(plan.flow)} (page Flows).")
    sentences.append(
        "Criterion, granularity and sparsity of the side bar have no effect on this page."
    )
    return " ".join(sentences)


def _several(
    label: str,
    field: str,
    chosen: Choices,
    options: Sequence[Any],
    shown: Callable[[Any], str],
) -> None:
    """A box for several values of one field; values from the address may be beyond the options."""
    selected = list(getattr(chosen, field))
    state.set_widget(f"study_{field}", selected)
    st.multiselect(
        label,
        [*options, *(value for value in selected if value not in options)],
        format_func=shown,
        wrap=True,
        key=f"study_{field}",
        help=HELP[f"study_{field}"],
        on_change=_changed,
        args=(field,),
    )


def _changed(field: str) -> None:
    """Writes the widget's value to the address."""
    before = choices_or_default()
    value = state.widget_value(f"study_{field}", getattr(before, field))
    change: dict[str, Any] = {field: tuple(value) if isinstance(value, list) else value}
    state.set_page_text(KEY, replace(before, **change).to_text())


def _earlier_studies(base: str) -> None:
    """The studies of this network and these images on disk; choosing one sets all its choices."""
    studies = [study for study in saved_studies(base) if not any(map(is_custom, study.criteria))]
    listed = studies[:MOST_LISTED]
    if not listed:
        return
    st.selectbox(
        "Earlier studies",
        listed,
        index=None,
        placeholder=f"{len(listed)} on disk: choose one to show it again",
        format_func=lambda study: f"{listed.index(study) + 1}. {_summary(study, base)}",
        key="study_earlier",
        help=HELP["study_earlier"],
        on_change=_earlier_chosen,
    )


def _summary(study: Study, base: str) -> str:
    """One line: size, training, number of finished runs, criteria."""
    names = ", ".join(CRITERIA[name].label for name in study.criteria)
    done = count_saved_runs(study_folder(study, base))
    epochs = study.plan.fine_tune.epochs
    training = f"{epochs} epoch{'s' * (epochs != 1)} on {images_words(study.images)} images"
    training += ", time measured" * study.time
    return f"{study_words(study)}, {training}: {done} of {len(study.runs)} runs done · {names}"


def _earlier_chosen() -> None:
    chosen: object = state.widget_value("study_earlier", None)
    if isinstance(chosen, Study):
        show(chosen)
    state.set_widget("study_earlier", None)


def show(study: Study) -> None:
    """Sets the page's choices and the plan to those of a study."""
    plan = study.plan
    state.set_page_text(KEY, choices_of(study).to_text())
    state.change(
        model=plan.model,
        dataset=plan.dataset,
        allocation=plan.allocation,
        schedule=plan.schedule,
        flow=plan.flow,
        calibration=plan.calibration,
        allow_collapse=plan.allow_collapse,
        fine_tune=plan.fine_tune,
        overrides=(),
        edits=(),
    )

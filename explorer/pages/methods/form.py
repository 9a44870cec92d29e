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
from explorer.session.address_choices import shown_choices
from explorer.session.foldable import foldable
from explorer.texts.help import HELP
from explorer.texts.plan_words import flow_words
from explorer.texts.translate import N_, _, from_core, in_a_row, n_
from explorer.training.form import training_form
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, is_custom
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.studies import Study, count_saved_runs, saved_studies, study_folder
from pruning_core.workspaces import Workspace

KEY = "study"
MOST_LISTED = 12


def methods_form(plan: Plan, space: Workspace, chosen: Choices, base: str) -> None:
    """All choices of a study. base: the fingerprint of network and images."""
    _earlier_studies(base)
    _methods(chosen)
    _repetitions(space, chosen)
    with foldable(_("Training of every run"), "methods_training", ":material/model_training:"):
        st.caption(
            _(
                "All runs have the same training settings, which are also those of the other "
                "pages. Only the seed differs between runs."
            )
        )
        training_form(plan)
    st.caption(_other_choices(plan))


def _methods(chosen: Choices) -> None:
    """Criteria, granularities and compressions."""
    _several(
        _("Criteria, besides Random and Magnitude (L1)"),
        "criteria",
        chosen,
        OFFERED_CRITERIA,
        lambda name: from_core(CRITERIA[name].label),
    )
    left, right = st.columns(2)
    with left:
        _several(
            _("Granularities"),
            "granularities",
            chosen,
            OFFERED_GRANULARITIES,
            lambda name: from_core(granularity(name).label),
        )
    with right:
        _several(
            _("Compressions"),
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
        _("Seeds"),
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
        _("Training {samples} per run", samples=from_core(space.dataset.task.samples)),
        sorted({*image_options(len(space.dataset.train)), chosen.images}),
        format_func=images_words,
        key="study_images",
        help=HELP["study_images"],
        on_change=_changed,
        args=("images",),
    )
    state.set_widget("study_time", chosen.time)
    row.toggle(
        _("Measure time"),
        key="study_time",
        help=HELP["study_time"],
        on_change=_changed,
        args=("time",),
    )


def _other_choices(plan: Plan) -> str:
    """Which choices of the plan a study uses, and which it does not."""
    allocation = from_core(ALLOCATIONS[plan.allocation].label)
    sentences = [
        _("All methods use the allocation {allocation} (side bar).", allocation=allocation)
    ]
    if plan.flow != Plan().flow:
        sentences.append(_("Flow: {flow} (page Flows).", flow=flow_words(plan.flow)))
    sentences.append(
        _("Criterion, granularity and sparsity of the side bar have no effect on this page.")
    )
    return in_a_row(sentences)


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
    before = shown_choices(KEY, choices, Choices())
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
        _("Earlier studies"),
        listed,
        index=None,
        placeholder=_("{count} on disk: choose one to show it again", count=len(listed)),
        format_func=lambda study: f"{listed.index(study) + 1}. {_summary(study, base)}",
        key="study_earlier",
        help=HELP["study_earlier"],
        on_change=_earlier_chosen,
    )


def _summary(study: Study, base: str) -> str:
    """One line: size, training, number of finished runs, criteria."""
    text = N_("{size}, {epochs} on {images} images: {done} of {total} runs done · {names}")
    if study.time:
        text = N_(
            "{size}, {epochs} on {images} images, time measured: {done} of {total} runs done · "
            "{names}"
        )
    return _(
        text,
        size=study_words(study),
        epochs=n_("{n} epoch", "{n} epochs", study.plan.fine_tune.epochs),
        images=images_words(study.images),
        done=count_saved_runs(study_folder(study, base)),
        total=len(study.runs),
        names=_(", ").join(from_core(CRITERIA[name].label) for name in study.criteria),
    )


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

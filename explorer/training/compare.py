"""A finished run before and after: accuracy, classes, changed answers and weights."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from explorer.charts import alt, class_change, comparison_bars, weight_histograms
from explorer.charts.style import LABELS, state_label
from explorer.session import cache, state
from explorer.session.address_choice import address_choice
from explorer.texts.formats import change_text, interval, percent, title, value_text
from explorer.texts.help import HELP
from explorer.texts.task_words import (
    interval_help,
    loss_help,
    only_classes,
    paired_help,
    ranges_words,
)
from explorer.texts.translate import N_, _, from_core, in_a_row
from explorer.training.changed_answers import Comparison, changed_answers_section
from pruning_core.export import evaluations_by_state
from pruning_core.model.inventory import stored, weights
from pruning_core.plan import Plan
from pruning_core.tasks import CLASSIFICATION, Change, change
from pruning_core.types import Evaluation, Finished, Layer
from pruning_core.workspaces import Workspace

UNUSED = N_("Neither training nor the choice of the best epoch used them.")


def before_and_after(run: Finished, space: Workspace) -> None:
    """The values of all states of a finished run."""
    measured = evaluations_by_state(run)
    st.subheader(_("Before and after"), anchor=False, help=HELP["states"])
    st.caption(measured_on(space, run.dense.n))
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        _chart(comparison_bars(measured), "comparison_bars")
    with halves.cell():
        _states_table(measured)
        st.caption(_removed_words(run, space))


def what_changed(run: Finished, plan: Plan, space: Workspace) -> None:
    """Answers, classes and weights of two states. plan: the one that the run was started with."""
    measured = evaluations_by_state(run)
    test = cache.test_split(plan, space)
    st.subheader(_("What changed?"), anchor=False)
    before, after = _choose_states(tuple(measured))
    pair = Comparison(test, space.dataset.classes, before, measured[before], after, measured[after])
    changed_answers_section(pair)
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        _classes(pair)
    with halves.cell():
        _weights(run, space)


def _chart(figure: go.Figure, key: str) -> None:
    st.plotly_chart(figure, key=key, alt=alt(figure), config={"displayModeBar": False})


def measured_on(space: Workspace, n: int) -> str:
    """Which samples a test value was measured on. n: their number."""
    total = len(space.dataset.test)
    task = space.dataset.task
    if n == total:
        part = N_("Measured on all {n:,} test {samples}.")
    elif task.name == CLASSIFICATION.name:
        part = N_("Measured on {n:,} of {total:,} test {samples}, with the same class proportions.")
    else:
        part = N_("Measured on {n:,} of {total:,} test {samples}.")
    samples = from_core(task.samples)
    return in_a_row([_(part, n=n, total=total, samples=samples), _(UNUSED), ranges_words(task)])


def _states_table(measured: dict[str, Evaluation]) -> None:
    dense = measured["dense"]
    task = dense.task
    rows = [
        {
            _("State"): state_label(name),
            title(task): value_text(evaluation.value, task),
            _("95% interval"): interval(evaluation),
            _("vs dense"): "" if name == "dense" else _points(change(dense, evaluation)),
            **_more_cells(evaluation),
            _("Loss"): f"{evaluation.loss:.3f}",
        }
        for name, evaluation in measured.items()
    ]
    config = st.column_config
    points = _("In percentage points. ") if task.percent else ""
    st.dataframe(
        rows,
        hide_index=True,
        alt=_("{value}, interval, change and loss of each state.", value=title(task)),
        column_config={
            _("95% interval"): config.TextColumn(help=interval_help(task)),
            _("vs dense"): config.TextColumn(help=f"{points}{paired_help(task)}"),
            _("Loss"): config.TextColumn(help=loss_help(task)),
        },
    )


def _more_cells(evaluation: Evaluation) -> dict[str, str]:
    """How many answers are right, where each is right or wrong; else the task's other numbers."""
    if evaluation.task.binary:
        right = round(evaluation.value * evaluation.n)
        return {_("Correct"): _("{part:,} of {total:,}", part=right, total=evaluation.n)}
    extras = {from_core(label): value for label, value in evaluation.extras.items()}
    return {label[:1].upper() + label[1:]: f"{value:.3g}" for label, value in extras.items()}


def _points(difference: Change) -> str:
    """A change with its interval, in points where it is a fraction: -1.2 (-2.0 to -0.5)."""
    task = difference.task
    low, high = (change_text(end, task) for end in difference.interval)
    change = change_text(difference.value, task)
    return _("{change} ({low} to {high})", change=change, low=low, high=high)


def _removed_words(run: Finished, space: Workspace) -> str:
    """How many weights were removed, and whether they are still zero after training."""
    removed, zero = count_removed(run, space.layers)
    sentences = [
        _(
            "{removed:,} weights were removed: {share} of the prunable weights (computed).",
            removed=removed,
            share=percent(run.report.sparsity_masked),
        )
    ]
    if zero == removed:
        sentences.append(_("All of them are exactly 0 in the final network."))
    else:
        sentences.append(_("Only {zero:,} of them are 0 in the final network.", zero=zero))
    if run.recalibrated is None:
        sentences.append(_("This network has no batch norm to recalibrate."))
    if run.tuned is None:
        sentences.append(_("The run had no epochs, so there is no fine-tuned state."))
    return in_a_row(sentences)


def count_removed(run: Finished, layers: Sequence[Layer]) -> tuple[int, int]:
    """(number of removed weights, how many of them are exactly zero in the final model)."""
    by_name = {layer.name: layer for layer in layers}
    removed = 0
    zero = 0
    for name, mask in run.masks.items():
        values = run.model.get_parameter(name).detach()[~stored(mask, by_name[name])]
        removed += values.numel()
        zero += int((values == 0).sum())
    return removed, zero


def _choose_states(names: tuple[str, ...]) -> tuple[str, str]:
    """The two states that the details compare."""
    with st.container(horizontal=True):
        before = _state_box(_("From"), "before", names, 0)
        others = tuple(name for name in names if name != before)
        after = _state_box(_("To"), "after", others, len(others) - 1)
    return before, after


def _state_box(label: str, key: str, names: tuple[str, ...], index: int) -> str:
    chosen: str = st.selectbox(
        label,
        names,
        format_func=state_label,
        width=210,
        **address_choice(key, {name: LABELS.get(name, name) for name in names}, names[index]),
    )
    return chosen


def _classes(pair: Comparison) -> None:
    """The recall of each class in the two states."""
    before = pair.before.classes
    after = pair.after.classes
    if before is None or after is None:
        st.caption(only_classes(_("Recall per class is"), pair.before.task))
        return
    st.markdown(
        _("**Each class**"), help=_("Recall: the fraction of a class's images answered right.")
    )
    _chart(
        class_change(
            pair.classes,
            before.per_class,
            after.per_class,
            states=(pair.before_name, pair.after_name),
        ),
        "class_change",
    )
    images = pair.before.n / len(before.per_class)
    st.caption(
        _(
            "From {before} to {after}. A class has about {images:,} images here, so one image is "
            "about {points:.2g} points.",
            before=state_label(pair.before_name),
            after=state_label(pair.after_name),
            images=round(images),
            points=100 / images,
        )
    )


def _weights(run: Finished, space: Workspace) -> None:
    """Histograms of one layer's weights before and after."""
    names = sorted(run.masks, key=lambda name: -run.masks[name].numel())
    st.markdown(
        _("**Weights of a layer**"),
        help=_(
            "How training changed the weights that were kept. Exact zeros are counted, not drawn."
        ),
    )
    state.set_widget(
        "compare_layer", state.selected_layer() if state.selected_layer() in names else names[0]
    )
    name = st.selectbox(
        _("Layer"),
        names,
        key="compare_layer",
        on_change=_layer_chosen,
        label_visibility="collapsed",
    )
    layers = tuple(layer for layer in space.layers if layer.name == name)
    final = "tuned" if run.tuned is not None else "pruned"
    series = {
        "dense": weights(space.model, layers)[name].numpy(),
        final: weights(run.model, layers)[name].numpy(),
    }
    bins = min(80, max(24, round(2 * layers[0].numel ** 0.5)))
    _chart(weight_histograms(series, name=name, bins=bins), "weight_histograms")


def _layer_chosen() -> None:
    state.select_layer(state.widget_value("compare_layer", None))

"""Before and after: accuracy, classes, changed answers and weights of a finished run, on the test
images.
"""

import streamlit as st
from torch import Tensor

from explorer.charts import alt, class_change, comparison_bars, weight_histograms
from explorer.charts.style import state_label
from explorer.pages.finetune.flips import flips_section
from explorer.pages.finetune.run import count_held
from explorer.session import cache, state
from explorer.texts.formats import HELP, interval, percent
from pruning_core.evaluation.intervals import Change, change
from pruning_core.export.writers import states
from pruning_core.model.inventory import weights
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Finished


def compare_section(done: Finished, plan: Plan, space: Workspace) -> None:
    """All of it, for the plan that the run was made for."""
    measured = states(done)
    st.subheader("Before and after", anchor=False, help=HELP["states"])
    st.caption(which_images(space, done.dense.n))
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        figure = comparison_bars(measured)
        st.plotly_chart(
            figure, key="comparison_bars", alt=alt(figure), config={"displayModeBar": False}
        )
    with halves.cell():
        _table(measured, cache.test_split(plan, space).labels)
        _facts(done, space)
    st.subheader("What changed?", anchor=False)
    before, after = _pair(tuple(measured))
    one = measured[before]
    other = measured[after]
    flips_section(
        cache.test_split(plan, space), space.dataset.classes, (before, one), (after, other)
    )
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        st.markdown(
            "**Each class**", help="Recall: the share of a class's images that are recognised."
        )
        figure = class_change(
            space.dataset.classes, one.per_class, other.per_class, states=(before, after)
        )
        st.plotly_chart(
            figure, key="class_change", alt=alt(figure), config={"displayModeBar": False}
        )
        images = one.n / len(one.per_class)
        st.caption(
            f"From {state_label(before)} to {state_label(after)}. A class has about {round(images):,} images here, "
            f"so one image is about {100 / images:.2g} points."
        )
    with halves.cell():
        _weights(done, space)


def which_images(space: Workspace, n: int) -> str:
    """On which images a test accuracy was measured."""
    total = len(space.dataset.test)
    what = (
        f"all {n:,} test images"
        if n == total
        else f"{n:,} of {total:,} test images, each class in its share"
    )
    return f"Measured on {what}; neither training nor the choice of the best epoch has seen them. Ranges: Wilson 95% intervals."


def _table(measured: dict[str, Evaluation], labels: Tensor) -> None:
    dense = measured["dense"]
    rows = [
        {
            "State": state_label(name),
            "Accuracy": percent(found.top1),
            "95% interval": interval(found),
            "vs dense": _versus(change(dense, found, labels)) if name != "dense" else "",
            "Right": f"{round(found.top1 * found.n):,} of {found.n:,}",
            "Loss": f"{found.loss:.3f}",
        }
        for name, found in measured.items()
    ]
    config = st.column_config
    st.dataframe(
        rows,
        hide_index=True,
        alt="Accuracy, interval, change and loss of each state.",
        column_config={
            "95% interval": config.TextColumn(help=HELP["interval"]),
            "vs dense": config.TextColumn(help=f"In points. {HELP['paired']}"),
            "Loss": config.TextColumn(help="Mean cross-entropy in nats: lower is better."),
        },
    )


def _versus(found: Change) -> str:
    low, high = found.interval
    return f"{100 * found.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _facts(done: Finished, space: Workspace) -> None:
    """Sparsity, and the proof that it was held."""
    removed, zero = count_held(done, space.layers)
    verdict = "all of them are exactly 0" if zero == removed else f"only {zero:,} of them are 0"
    share = percent(done.report.sparsity_masked)
    lines = [
        f"{removed:,} weights were removed ({share} of the cut layers, computed); {verdict} in the final network."
    ]
    if done.recalibrated is None:
        lines.append("This network has no batch norm, so there is nothing to recalibrate.")
    if done.tuned is None:
        lines.append("The run had no epochs, so there is no fine-tuned state.")
    st.caption(" ".join(lines))


def _pair(names: tuple[str, ...]) -> tuple[str, str]:
    """Which two states the details compare."""
    with st.container(horizontal=True):
        before = st.selectbox(
            "From", names, format_func=state_label, key="before", bind="query-params", width=210
        )
        others = tuple(name for name in names if name != before)
        after = st.selectbox(
            "to",
            others,
            index=len(others) - 1,
            format_func=state_label,
            key="after",
            bind="query-params",
            width=210,
        )
    return before, after


def _weights(done: Finished, space: Workspace) -> None:
    """One layer's weights before and after, overlaid."""
    names = sorted(done.masks, key=lambda name: -done.masks[name].numel())
    st.markdown(
        "**Weights of a layer**",
        help="How training moved the weights that were kept. Exact zeros are left out and counted.",
    )
    state.set_widget(
        "compare_layer", state.selected_layer() if state.selected_layer() in names else names[0]
    )
    name = st.selectbox(
        "Layer", names, key="compare_layer", on_change=_layer_chosen, label_visibility="collapsed"
    )
    layers = tuple(layer for layer in space.layers if layer.name == name)
    now = "tuned" if done.tuned is not None else "pruned"
    series = {
        "dense": weights(space.model, layers)[name].numpy(),
        now: weights(done.model, layers)[name].numpy(),
    }
    figure = weight_histograms(
        series, name=name, bins=min(80, max(24, round(2 * layers[0].numel ** 0.5)))
    )
    st.plotly_chart(
        figure, key="weight_histograms", alt=alt(figure), config={"displayModeBar": False}
    )


def _layer_chosen() -> None:
    state.select_layer(state.widget_value("compare_layer", None))

"""The results of a study: charts, a table, files, and what a comparison has to report."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from explorer.charts import alt, tradeoff
from explorer.pages.methods.choices import method_name
from explorer.session.foldable import foldable
from explorer.session.state import keep_widget, set_widget, widget_value
from explorer.texts.formats import change_text, count, in_words, points, scale, title, value_text
from explorer.texts.help import HELP
from explorer.texts.plan_words import WORDS, tune_words
from explorer.texts.translate import N_, _, from_core, n_
from pruning_core.studies import COLUMNS, Lead, Result, Row, Study, best_method, summary, to_csv
from pruning_core.tasks import CLASSIFICATION, Task

AFTER = N_("After fine-tuning")
BEFORE = N_("Before")
SIZES = {
    N_("Compression"): "compression",
    N_("Speed-up"): "speedup",
    N_("Storage"): "storage",
    N_("Measured time"): "measured_speedup",
}
"""A choice of the horizontal axis -> the field of Row."""
CHECKLIST = N_("""
*What is the State of Neural Network Pruning?* (Blalock et al. 2020, arXiv:2003.03033) lists what a
comparison has to report. Here you find it as follows:

- **the same network, data and metric for all methods**: {model}, {dataset}, {metric} on
  {n:,} test {samples}{top5};
- **the same start**: every run starts with the same trained weights, whose {value} is {initial}.
  {title} *before* and *after* fine-tuning is reported;
- **the same training**: {tune} on {images:,} training {samples}, and the same allocation,
  {allocation};
- **three measures of size**: compression (parameters of the network / parameters left),
  theoretical speed-up (MACs / MACs left) and storage (dense bytes / bytes in the smallest format
  that stores only nonzeros and where they stand). All are computed from the masks, not timed{time}.
  Where whole filters or heads are removed, parameters and MACs are those of the smaller network
  without them: weights that only read removed channels are removed too (where it is proved which
  these are; the CSV has both counts);
- **several operating points**: {points}. A method that cannot prune some layers reaches less
  than requested, so the horizontal axes show what was reached;
- **spread**: mean and standard deviation over {seeds} seeds. A seed sets the order of the training
  {samples} and, where a run uses a part of them, which ones; the calibration {samples}; and random
  scores. The test {samples} are always the same: the 95% interval of one measurement is at
  most ± {half};
- **baselines**: random and magnitude, always.

This is one network on one set of {samples}. The paper asks for at least three such pairs, one of
them large.
""")


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The study that the page shows, with its finished runs. total: runs of the whole study."""

    study: Study
    results: tuple[Result, ...]
    total: int


def report(measured: StudyResults) -> None:
    """Charts, table, files, and how to read them."""
    state, size = _controls(measured)
    before = state == BEFORE
    st.markdown(verdict(measured.results, "before" if before else "after"))
    if len(measured.results) < measured.total:
        st.caption(
            _(
                ":material/hourglass_empty: {done} of {total} runs are measured. Means are over "
                "the seeds measured so far.",
                done=len(measured.results),
                total=measured.total,
            )
        )
    rows = by_method(summary(measured.results))
    value_label = from_core(measured.results[0].initial.task.value_label)
    figure = tradeoff(rows, SIZES[size], "before" if before else "after")
    st.plotly_chart(figure, key="methods_chart", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        _(
            "Marks: mean over seeds; whiskers: ± one standard deviation. {precision} The "
            "horizontal axis is logarithmic. It shows what was reached, not what was requested.",
            precision=_precision(measured),
        )
    )
    for names in equal_methods(measured.results):
        st.caption(
            _(
                ":material/layers: {methods} have the same {value} in every run: they seem to rank "
                "these weights in the same way. Their lines cover each other.",
                methods=_(" and ").join(names),
                value=value_label,
            )
        )
    _table(rows)
    with foldable(_("What this comparison reports"), "methods_checklist", ":material/fact_check:"):
        st.markdown(_checklist(measured))


def verdict(results: Sequence[Result], state: str) -> str:
    """Which method is better than others by more than chance, or that none is. state: as there."""
    best = best_method(results, state)
    if best is None:
        return _(
            "**Not known yet which method is better beyond chance.** Two methods need two seeds "
            "or more at the same compression."
        )
    several = len({result.run.granularity for result in results})
    task = results[0].initial.task
    name = method_name(*best.method, several)
    beaten = [lead for lead in best.leads if lead.certain]
    rest = [lead for lead in best.leads if not lead.certain]
    if not beaten:
        start = N_("**No method is better than another beyond chance.** {name} has the best mean")
    elif rest:
        start = N_("**{name} is better than {others} beyond chance**, but not better than {rest}")
    else:
        start = N_("**{name} is better than every other method beyond chance**")
    closest = best.leads[0]
    low, high = (change_text(end, task) for end in closest.interval)

    def names(leads: Sequence[Lead]) -> str:
        return in_words([method_name(*lead.other, several) for lead in leads])

    return _(
        "{start}: {gain} against {other} (95%: {low} to {high}). Mean over {compressions}, paired "
        "over {seeds} seeds; the intervals allow for {comparisons}.",
        start=_(start, name=name, others=names(beaten), rest=names(rest)),
        gain=change_text(closest.gain, task) + points(task),
        other=method_name(*closest.other, several),
        low=low,
        high=high,
        compressions=n_("{n} compression", "{n} compressions", len(best.compressions)),
        seeds=best.seeds,
        comparisons=n_("{n} comparison", "{n} comparisons", len(best.leads)),
    )


def _controls(measured: StudyResults) -> tuple[str | None, str]:
    """Which accuracy the chart shows over which size, and two files. Returns both choices."""
    trained = measured.study.plan.fine_tune.epochs > 0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if trained:
            keep_widget("methods_state")
        else:
            set_widget("methods_state", BEFORE)
        state = st.segmented_control(
            title(measured.results[0].initial.task),
            (AFTER, BEFORE),
            format_func=_,
            default=AFTER if trained else BEFORE,
            required=True,
            key="methods_state",
            disabled=not trained,
            help=HELP["study_state"],
        )
        keep_widget("methods_axis")
        offered = axes(measured.results)
        if widget_value("methods_axis", "Compression") not in offered:
            set_widget("methods_axis", "Compression")
        size = st.segmented_control(
            _("Horizontal axis"),
            offered,
            format_func=_,
            default="Compression",
            required=True,
            key="methods_axis",
            help=HELP["study_axis"],
        )
        _files(measured)
    return state, size or "Compression"


def axes(results: Sequence[Result]) -> tuple[str, ...]:
    """The sizes that can be the horizontal axis: those that every run has."""
    return tuple(
        name
        for name, own in SIZES.items()
        if all(getattr(result, own) is not None for result in results)
    )


def _files(measured: StudyResults) -> None:
    """Buttons that save the runs and the study."""
    st.download_button(
        _("Runs as CSV"),
        lambda: to_csv(measured.study, measured.results),
        "study.csv",
        "text/csv",
        key="methods_csv",
        icon=":material/download:",
        on_click="ignore",
        help=_("One row per run: {columns}.", columns=", ".join(COLUMNS)),
    )
    st.download_button(
        _("Study as JSON"),
        lambda: measured.study.to_json() + "\n",
        "study.json",
        "application/json",
        key="methods_json",
        icon=":material/download:",
        on_click="ignore",
        help=HELP["study_json"],
    )


def by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each method, by its name."""
    granularities = len({row.granularity for row in rows})
    methods = dict[str, list[Row]]()
    for row in rows:
        name = method_name(row.criterion, row.granularity, granularities)
        methods.setdefault(name, []).append(row)
    return methods


def _precision(measured: StudyResults) -> str:
    """The number of test images, and the widest interval of one measurement."""
    task = measured.results[0].final.task
    return _(
        "Each run is measured on {n:,} test {samples}; the 95% interval of one run is at most ± "
        "{half}.",
        n=measured.results[0].final.n,
        samples=from_core(task.samples),
        half=_size(_widest(measured), task),
    )


def _widest(measured: StudyResults) -> float:
    """Half the widest interval of one measurement."""
    finals = [result.final for result in measured.results]
    return max(final.high - final.low for final in finals) / 2


def _size(half: float, task: Task) -> str:
    """Half the width of an interval: "1.2 points", or "0.31"."""
    return _("{half:.1f} points", half=100 * half) if task.percent else f"{half:.3g}"


def equal_methods(results: Sequence[Result]) -> tuple[tuple[str, ...], ...]:
    """Names of methods that have the same accuracies in every run, before and after training.

    Methods whose accuracy is the same number in all runs are left out: at chance level this says
    nothing.
    """
    granularities = len({result.run.granularity for result in results})
    accuracies = dict[str, dict[tuple[float, int], tuple[float, float]]]()
    for result in results:
        run = result.run
        name = method_name(run.criterion, run.granularity, granularities)
        pair = (result.before.value, result.final.value)
        accuracies.setdefault(name, {})[run.compression, run.seed] = pair
    groups: dict[frozenset[tuple[tuple[float, int], tuple[float, float]]], list[str]] = {}
    for name, by_run in accuracies.items():
        groups.setdefault(frozenset(by_run.items()), []).append(name)
    return tuple(
        tuple(names)
        for runs, names in groups.items()
        if len(names) > 1 and len({pair for _run, pair in runs}) > 1
    )


def _table(methods: dict[str, list[Row]]) -> None:
    """Means and standard deviations, method by method."""
    times = st.column_config.NumberColumn(format="%.2f×")
    task = next(row.task for rows in methods.values() for row in rows)
    numbers = st.column_config.NumberColumn(format="%.1f" if task.percent else "%.4g")
    columns = {_(size): times for size in SIZES}
    names = _value_columns(task)
    columns |= dict.fromkeys(names, numbers)
    right = st.column_config.Column(alignment="right")
    columns |= {_("Requested"): right, _("MACs left"): right}
    st.dataframe(
        [_cells(name, row) for name, rows in methods.items() for row in rows],
        hide_index=True,
        column_config=columns,
        key="methods_table",
        placeholder="–",
        alt=_(
            "Mean {value} of {count} methods at each compression, with its standard deviation "
            "over seeds.",
            value=from_core(task.value_label),
            count=len(methods),
        ),
    )


def _value_columns(task: Task) -> tuple[str, str, str, str]:
    """Titles of the columns: after, its spread, before, its spread."""
    unit = _(", %") if task.percent else ""
    after = _("After")
    before = _("Before")
    return f"{after}{unit}", _("± after"), f"{before}{unit}", _("± before")


def _cells(name: str, row: Row) -> dict[str, object]:
    after, after_spread, before, before_spread = _value_columns(row.task)
    return {
        _("Method"): name,
        _("Requested"): f"{row.asked:g}×",
        after: scale(row.task) * row.after,
        after_spread: _spread(row.spread, row.task),
        before: scale(row.task) * row.before,
        before_spread: _spread(row.before_spread, row.task),
        _("Compression"): row.compression,
        _("Speed-up"): row.speedup,
        _("Storage"): row.storage,
        **_measured_time(row),
        _("MACs left"): count(row.macs),
        _("Seeds"): row.seeds,
    }


def _measured_time(row: Row) -> dict[str, object]:
    """The column of measured time, where the study asked for it."""
    return {} if row.measured_speedup is None else {_("Measured time"): row.measured_speedup}


def _spread(spread: float | None, task: Task) -> float | None:
    return None if spread is None else scale(task) * spread


def _checklist(measured: StudyResults) -> str:
    first = measured.results[0]
    plan = measured.study.plan
    task = first.initial.task
    timed = N_("; measured time is one timing per run on this machine")
    top5 = N_(" (top-5 is in the CSV)")
    return _(
        CHECKLIST,
        model=WORDS["model"][1](plan.model),
        dataset=WORDS["dataset"][1](plan.dataset),
        n=first.final.n,
        metric=from_core(task.axis_label),
        value=from_core(task.value_label),
        title=title(task),
        samples=from_core(task.samples),
        time=_(timed) if measured.study.time else "",
        top5=_(top5) if task.name == CLASSIFICATION.name else "",
        allocation=WORDS["allocation"][1](plan.allocation),
        initial=value_text(first.initial.value, task),
        tune=tune_words(plan).rstrip(".。"),
        images=first.images,
        half=_size(_widest(measured), task),
        points=_(", ").join(f"{value:g}×" for value in measured.study.compressions),
        seeds=measured.study.seeds,
    )

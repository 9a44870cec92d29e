"""What a study came to: accuracy over compression and over speed-up, a table, files, and what a
comparison has to report.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from explorer.charts import alt, tradeoff
from explorer.pages.methods.run import method
from explorer.texts.formats import count, percent
from explorer.texts.help import HELP
from explorer.texts.plan_words import WORDS, tune_words
from pruning_core.studies import COLUMNS, Result, Row, Study, summary, to_csv

CHECKLIST = """
What *What is the State of Neural Network Pruning?* (Blalock et al. 2020, arXiv:2003.03033) asks a comparison to report, and where
it is here:

- **the same network, images and metric for all**: {model}, {dataset}, top-1 accuracy on {n:,} test images (top-5 is
  in the CSV);
- **the same start**: every run begins with the same trained weights, {initial} right before pruning; *before* and *after*
  fine-tuning are both there;
- **the same training**: {tune} on {images:,} training images; {same}
- **two sizes**: compression (parameters of the network / parameters left) and theoretical speed-up (MACs / MACs left). Computed
  from masks: no clock was read. Where whole filters or heads go, what is left is that of the network made narrower: weights
  that only read removed channels are gone too (where torch-pruning can say which; the CSV has both counts);
- **several operating points**: {points}; a method that cannot cut some layers reaches less than was asked, so curves are drawn
  over what was reached;
- **spread**: mean and standard deviation over {seeds} seeds, of the order of the training images and, where a run uses a part of
  them, of the choice, of the calibration images, and of random scores. The test images are the same: one measurement's own
  95% interval is about ± {half:.1f} points;
- **baselines**: random and magnitude, always.

One network on one set of images is one example. The paper asks for at least three such pairs, one of them large.
"""


@dataclass(frozen=True, eq=False)
class Found:
    """The study that the page shows, with its finished runs."""

    asked: Study
    results: tuple[Result, ...]
    total: int


def report(found: Found) -> None:
    """Charts, table, file, and what they say."""
    rows = summary(found.results)
    tuned = found.asked.plan.fine_tune.epochs > 0
    both = ("After fine-tuning", "Before")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shown = st.segmented_control(
            "Accuracy",
            both,
            default=both[0 if tuned else 1],
            required=True,
            key="methods_state",
            disabled=not tuned,
            help=HELP["study_state"],
        )
        st.download_button(
            "Runs as CSV",
            lambda: to_csv(found.asked, found.results),
            "study.csv",
            "text/csv",
            key="methods_csv",
            icon=":material/download:",
            on_click="ignore",
            help=f"A row per run: {', '.join(COLUMNS)}.",
        )
        st.download_button(
            "Study as JSON",
            lambda: found.asked.to_json() + "\n",
            "study.json",
            "application/json",
            key="methods_json",
            icon=":material/download:",
            on_click="ignore",
            help=HELP["study_json"],
        )
    if len(found.results) < found.total:
        far = f"{len(found.results)} of {found.total} runs are measured"
        st.caption(f":material/hourglass_empty: {far}: means are of those seeds that are done.")
    named = by_method(rows)
    at = "after" if shown != "Before" else "before"
    for over in ("compression", "speedup"):
        figure = tradeoff(named, over, at)
        st.plotly_chart(
            figure, key=f"methods_{over}", alt=alt(figure), config={"displayModeBar": False}
        )
    st.caption(
        "Marks: mean over seeds; whiskers: ± one standard deviation. Where whiskers overlap, the order may be chance. "
        f"{_precision(found)} Both lower axes double from tick to tick; they show what was reached, not what was "
        "asked."
    )
    for names in alike(found.results):
        st.caption(
            f":material/layers: {' and '.join(names)} came to the same accuracy in every run: they seem to rank these "
            "weights alike, and their lines lie on each other."
        )
    _table(named)
    with st.expander("What this reports, and what it does not", icon=":material/fact_check:"):
        st.markdown(_checklist(found))


def by_method(rows: tuple[Row, ...]) -> dict[str, list[Row]]:
    """The rows of each method, by its name."""
    shapes = len({row.granularity for row in rows})
    named = dict[str, list[Row]]()
    for row in rows:
        named.setdefault(method(row.criterion, row.granularity, shapes), []).append(row)
    return named


def _precision(found: Found) -> str:
    """On how many images a run is measured, and how sure one measurement is."""
    finals = [each.final for each in found.results]
    widest = 50 * max(each.high - each.low for each in finals)
    return f"Each run is measured on {finals[0].n:,} test images; its own 95% interval is at most ± {widest:.1f} points."


def alike(results: Sequence[Result]) -> tuple[tuple[str, ...], ...]:
    """Names of methods that came to the same accuracies in every run, before and after, where these
    are not all one number.
    """
    shapes = len({each.run.granularity for each in results})
    runs = dict[str, dict[tuple[float, int], tuple[float, float]]]()
    for each in results:
        name = method(each.run.criterion, each.run.granularity, shapes)
        runs.setdefault(name, {})[each.run.compression, each.run.seed] = (
            each.before.top1,
            each.final.top1,
        )
    same: dict[frozenset[tuple[tuple[float, int], tuple[float, float]]], list[str]] = {}
    for name, found in runs.items():
        same.setdefault(frozenset(found.items()), []).append(name)
    return tuple(
        tuple(names)
        for found, names in same.items()
        if len(names) > 1 and len({each for _, each in found}) > 1
    )


def _table(named: dict[str, list[Row]]) -> None:
    """Means and spreads, method by method."""
    cells = [
        {
            "Method": name,
            "Asked": f"{row.asked:g}×",
            "After, %": 100 * row.after,
            "± after": _points(row.spread),
            "Before, %": 100 * row.before,
            "± before": _points(row.before_spread),
            "Compression": row.compression,
            "Speed-up": row.speedup,
            "MACs left": count(row.macs),
            "Seeds": row.seeds,
        }
        for name, curve in named.items()
        for row in curve
    ]
    times = st.column_config.NumberColumn(format="%.2f×")
    points = st.column_config.NumberColumn(format="%.2f")
    columns = {"Compression": times, "Speed-up": times} | dict.fromkeys(
        ("Before, %", "± before", "After, %", "± after"), points
    )
    st.dataframe(
        cells,
        hide_index=True,
        column_config=columns,
        key="methods_table",
        alt=f"Mean accuracy of {len(named)} methods at each compression, with the spread over seeds.",
    )


def _points(spread: float | None) -> float | None:
    return None if spread is None else 100 * spread


def _checklist(found: Found) -> str:
    first = found.results[0]
    plan = found.asked.plan
    half = 50 * (first.final.high - first.final.low)
    same = f"one allocation for all, {WORDS['allocation'][1](plan.allocation)};"
    return CHECKLIST.format(
        model=WORDS["model"][1](plan.model),
        dataset=WORDS["dataset"][1](plan.dataset),
        n=first.final.n,
        same=same,
        initial=percent(first.initial.top1),
        tune=tune_words(plan).rstrip("."),
        images=first.images,
        half=half,
        points=", ".join(f"{value:g}×" for value in found.asked.compressions),
        seeds=found.asked.seeds,
    )

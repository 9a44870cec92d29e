"""The images whose answer changed between two states, both ways."""

import streamlit as st

from explorer.charts.raster import ENLARGED_SIDE, enlarged
from explorer.charts.style import state_label
from explorer.pages.finetune.run import flipped, sign_test
from explorer.texts.formats import HELP, percent
from pruning_core.types import Evaluation, Split

SHOWN = 12


def flips_section(
    exam: Split,
    classes: tuple[str, ...],
    before: tuple[str, Evaluation],
    after: tuple[str, Evaluation],
) -> None:
    """Two galleries: broken (right before, wrong after) and fixed (the other way round)."""
    broken, fixed = flipped(exam.labels, before[1], after[1])
    st.markdown("**Changed answers**", help=HELP["flips"])
    one = state_label(before[0])
    other = state_label(after[0])
    same = len(exam) - len(broken) - len(fixed)
    st.caption(
        f"From {one} to {other}: {len(broken)} broken, {len(fixed)} fixed, {same:,} as right or wrong as before. "
        + _verdict(len(broken), len(fixed))
    )
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        _gallery(
            f"Broken · {len(broken)}",
            f"right when {one}, wrong when {other}",
            broken,
            exam,
            classes,
            before[1],
            after[1],
        )
    with halves.cell():
        _gallery(
            f"Fixed · {len(fixed)}",
            f"wrong when {one}, right when {other}",
            fixed,
            exam,
            classes,
            before[1],
            after[1],
        )


def _verdict(broken: int, fixed: int) -> str:
    """Is the difference more than chance?"""
    if not broken + fixed:
        return "The two answer alike."
    p = sign_test(broken, fixed)
    share = "less than 0.1%" if p < 0.001 else percent(p)
    return f"If both were equally good, a split as uneven as this would come up with a probability of {share} (exact sign test)."


def _gallery(
    title: str,
    meaning: str,
    indices: list[int],
    exam: Split,
    classes: tuple[str, ...],
    before: Evaluation,
    after: Evaluation,
) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}** :gray[{meaning}]")
        if not indices:
            st.caption("No image.")
            return
        grid = st.grid("auto", min_column_width=ENLARGED_SIDE + 8, gap="small")
        shown = indices[:SHOWN]
        for index, picture in zip(shown, exam.images(shown), strict=True):
            label, was, now = (
                classes[int(values[index])]
                for values in (exam.labels, before.predictions, after.predictions)
            )
            grid.image(
                enlarged(picture.numpy()),
                caption=f"{label}: {was} → {now}",
                width=ENLARGED_SIDE,
                alt=f"Test image {index}, truly {label}: answered {was} before and {now} after",
            )
        more = f" The first {SHOWN} are shown." if len(indices) > SHOWN else ""
        st.caption(f"Under each: true class: answer before → after.{more}")

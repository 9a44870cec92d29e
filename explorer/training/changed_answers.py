"""The test images whose answer changed between two states, in two galleries."""

from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor

from explorer.charts.raster import ENLARGED_SIDE, enlarged
from explorer.charts.style import state_label
from explorer.texts.help import HELP
from explorer.texts.task_words import only_classes
from explorer.texts.translate import _
from pruning_core.types import Evaluation, Split

MOST_SHOWN = 12
SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two measured states of one network. test: the images that both were measured on."""

    test: Split
    classes: tuple[str, ...]
    before_name: str
    before: Evaluation
    after_name: str
    after: Evaluation

    @property
    def answers(self) -> tuple[Tensor, Tensor] | None:
        """The predicted classes before and after; None where the task has no classes."""
        if self.before.classes is None or self.after.classes is None:
            return None
        return self.before.classes.predictions, self.after.classes.predictions


def changed_answers_section(pair: Comparison) -> None:
    """How many answers changed, whether that is more than chance, and the images themselves."""
    answers = pair.answers
    if answers is None:
        st.caption(only_classes(_("Changed answers are"), pair.before.task))
        return
    broken, fixed = changed_answers(pair.test.labels, *answers)
    before = state_label(pair.before_name)
    after = state_label(pair.after_name)
    same = len(pair.test) - len(broken) - len(fixed)
    st.markdown(_("**Changed answers**"), help=HELP["flips"])
    st.caption(
        _(
            "From {before} to {after}: {broken} newly wrong, {fixed} newly right, {same:,} "
            "unchanged. {verdict}",
            before=before,
            after=after,
            broken=len(broken),
            fixed=len(fixed),
            same=same,
            verdict=verdict(len(broken), len(fixed)),
        )
    )
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        title = _("Newly wrong · {count}", count=len(broken))
        meaning = _("right when {before}, wrong when {after}", before=before, after=after)
        _gallery(title, meaning, broken, pair, answers)
    with halves.cell():
        title = _("Newly right · {count}", count=len(fixed))
        meaning = _("wrong when {before}, right when {after}", before=before, after=after)
        _gallery(title, meaning, fixed, pair, answers)


def changed_answers(labels: Tensor, before: Tensor, after: Tensor) -> tuple[list[int], list[int]]:
    """Indices of the images that became wrong, and of those that became right.

    before, after: the predicted classes.
    """
    was_right = before == labels
    is_right = after == labels
    broken = torch.nonzero(was_right & ~is_right).flatten().tolist()
    fixed = torch.nonzero(~was_right & is_right).flatten().tolist()
    return broken, fixed


def sign_test(broken: int, fixed: int) -> float:
    """The p-value of the exact two-sided sign test: are both ways equally likely?

    p = min(1, 2 sum_{k <= min(b, f)} C(b + f, k) / 2^(b + f)); McNemar 1947, in its exact form.
    """
    from scipy.stats import binomtest  # slow to import, and only a finished run needs it

    changed = broken + fixed
    return float(binomtest(broken, changed).pvalue) if changed else 1.0


def verdict(broken: int, fixed: int) -> str:
    """Is the difference more than chance?"""
    if not broken + fixed:
        return _("Both states are right on the same images.")
    p = sign_test(broken, fixed)
    if p < SIGNIFICANT:
        return _("More than chance: sign test, {p}.", p=_p_value(p))
    return _("Not more than chance: sign test, {p}.", p=_p_value(p))


def _p_value(p: float) -> str:
    """0.5 -> p = 0.50; 0.0032 -> p = 0.003; below 0.001 -> p < 0.001."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.3f}"


def _gallery(
    title: str,
    meaning: str,
    indices: list[int],
    pair: Comparison,
    answers: tuple[Tensor, Tensor],
) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}** :gray[{meaning}]")
        if not indices:
            st.caption(_("No image."))
            return
        shown = indices[:MOST_SHOWN]
        grid = st.grid("auto", min_column_width=ENLARGED_SIDE + 8, gap="small")
        for index, picture in zip(shown, pair.test.images(shown), strict=True):
            label = pair.classes[int(pair.test.labels[index])]
            before = pair.classes[int(answers[0][index])]
            after = pair.classes[int(answers[1][index])]
            grid.image(
                enlarged(picture.numpy()),
                caption=f"{label}: {before} → {after}",
                width=ENLARGED_SIDE,
                alt=_(
                    "Test image {index} of class {label}: answer {before} before, {after} after",
                    index=index,
                    label=label,
                    before=before,
                    after=after,
                ),
            )
        under = _("Under each image: its class, then the answer before → after.")
        if len(indices) > MOST_SHOWN:
            under += _(" The first {most} are shown.", most=MOST_SHOWN)
        st.caption(under)

"""One validation image beside the mask lab, with the answers of both networks."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from explorer.charts.raster import enlarged
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.session.page_body import draw_body
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, PruningError
from pruning_core.workspaces import Workspace

KEY = "image"
PIXELS = 104
SAME = N_(":material/check: same answer")
CHANGED = N_(":material/swap_horiz: **answer changed**")


def has_images(plan: Plan, space: Workspace) -> bool:
    """Can the validation samples be shown as pictures?"""
    return _picture(plan, space, 0) is not None


def image_chooser(plan: Plan, space: Workspace) -> DeltaGenerator:
    """Draws the number and the picture of an image; returns the place for the answers."""
    most = len(cache.probe(plan, space)) - 1
    state.keep_widget(KEY)
    state.limit_widget(KEY, most)
    place = st.container(key="picture")
    st.number_input(
        _("Image, 0 to {most:,}", most=most),
        0,
        most,
        key=KEY,
        bind="query-params",
        help=HELP["image"],
        on_change=draw_body,
    )
    number = chosen_image(plan, space)
    picture = _picture(plan, space, number)
    if picture is not None:
        alt = _("Validation image {number}", number=number)
        place.image(enlarged(picture.numpy()), width=PIXELS, alt=alt)
    return st.container(gap="xsmall")


def chosen_image(plan: Plan, space: Workspace) -> int:
    """The number of the chosen image, from the address or the chooser."""
    most = len(cache.probe(plan, space)) - 1
    return min(max(0, int(state.widget_value(KEY, 0) or 0)), most)


def answers(plan: Plan, space: Workspace, now: Evaluation) -> None:
    """Draws what both networks answer, and a way to the next image whose answer changed.

    now: the pruned network on the probe. Only classification has answers.
    """
    before = cache.dense_accuracy(plan, space).classes
    after = now.classes
    if before is None or after is None:
        return
    number = chosen_image(plan, space)
    classes = space.dataset.classes
    label = classes[int(cache.probe(plan, space).labels[number])]
    first = classes[int(before.predictions[number])]
    second = classes[int(after.predictions[number])]
    st.markdown(
        _(
            "This is **{label}**.  \nDense answers **{dense}**.  \nPruned answers **{pruned}**.",
            label=plain(label),
            dense=plain(first),
            pruned=plain(second),
        )
    )
    st.caption(_(SAME if first == second else CHANGED))
    changed = (before.predictions != after.predictions).nonzero().flatten().tolist()
    if changed:
        _next_changed(changed, number, len(after.predictions))
    else:
        st.empty()  # the button's place


def _next_changed(changed: list[int], number: int, total: int) -> None:
    """A button to the next image whose answer is not the dense network's."""
    later = next((each for each in changed if each > number), changed[0])
    st.button(
        _("Next changed"),
        key="next_changed",
        help=_(
            "{changed:,} of {total:,} answers are not those of the dense network. "
            "Shows the next such image.",
            changed=len(changed),
            total=total,
        ),
        on_click=draw_body,
        args=(state.set_widget, KEY, later),
        width="stretch",
    )


def _picture(plan: Plan, space: Workspace, number: int) -> Tensor | None:
    """The image, C x H x W in [0, 1]; None where the samples are no images."""
    try:
        return cache.probe(plan, space).images([number])[0]
    except PruningError:
        return None

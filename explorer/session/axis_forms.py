"""The widgets of granularity and schedule, which have sizes and rounds of their own."""

from collections.abc import Callable, Mapping
from functools import cache

import streamlit as st

from explorer.session import state
from explorer.session.menu_pictures import menu_style
from explorer.texts.help import HELP, entry_help
from explorer.texts.translate import N_, _, from_core
from pruning_core.granularity import GRANULARITIES, Granularity, granularity, supports
from pruning_core.plan import Plan
from pruning_core.schedule import MAX_ROUNDS, SCHEDULES, schedule
from pruning_core.workspaces import Workspace

UNAVAILABLE = N_(" · unusable")
"""Added to the label of an entry that the network cannot use."""
SIZED = {"n_of_m": ("N:M", "2:4"), "block": (N_("Block"), "block:4x4")}
"""Families of granularities with sizes: label, and the granularity that is chosen first."""
LARGEST_SIZE = 4096
SAME_CHANNELS = "same_channels"
"""The switch of a plan's field `tied`; as in the address, because a page has a widget `tied`."""


def family(name: str) -> str:
    """The family of a granularity: fine, row, n_of_m, block ..."""
    if name.startswith("block:"):
        return "block"
    return "n_of_m" if ":" in name else name


def first_granularity(family_name: str) -> str:
    """The granularity that is chosen when its family is."""
    return SIZED[family_name][1] if family_name in SIZED else family_name


def families() -> dict[str, Granularity]:
    """Family -> its first granularity."""
    names = dict.fromkeys(family(name) for name in GRANULARITIES)
    return {name: granularity(first_granularity(name)) for name in names}


def ignored_words(field: str, ignored: Mapping[str, str]) -> str:
    """Why the field is not used now, in the page's language; empty where it is used."""
    return _(ignored[field]) if field in ignored else ""


def granularity_form(plan: Plan, space: Workspace | None, ignored: Mapping[str, str]) -> None:
    """A select box for the family, and number inputs for its sizes.

    ignored: fields that are not used now, each with a sentence why; they are disabled.
    """
    chosen = granularity(plan.granularity)
    chosen_family = family(plan.granularity)
    entries = families() | {chosen_family: chosen}
    reasons = {name: refusal(entry, space) for name, entry in entries.items()}

    def entry_label(name: str) -> str:
        label = _(SIZED[name][0]) if name in SIZED else from_core(entries[name].label)
        return label + (_(UNAVAILABLE) if reasons[name] else "")

    state.set_widget("granularity", chosen_family)
    st.selectbox(
        _("Granularity"),
        tuple(entries),
        format_func=entry_label,
        key="granularity",
        help=entry_help("granularity", chosen),
        disabled="granularity" in ignored,
        on_change=_family_changed,
    )
    st.html(_pictures())
    if chosen_family in SIZE_FORMS and "granularity" not in ignored:
        SIZE_FORMS[chosen_family](plan.granularity)
    words = ignored_words("granularity", ignored)
    st.caption(words or from_core(reasons[chosen_family] or chosen.help))
    if chosen.ties_layers:
        _tied_switch(plan, ignored_words("tied", ignored))


def _tied_switch(plan: Plan, unused: str) -> None:
    """unused: why it has no effect now; empty where it has one."""
    state.set_widget(SAME_CHANNELS, plan.tied)
    st.toggle(
        _("Tied layers lose the same channels"),
        key=SAME_CHANNELS,
        help=HELP[SAME_CHANNELS],
        disabled=bool(unused),
        on_change=_tied_changed,
    )
    if unused:
        st.caption(unused)


@cache
def _pictures() -> str:
    """The pictures of the families, which have the order of the menu."""
    return menu_style(families().values())


def _tied_changed() -> None:
    state.change(tied=state.widget_value(SAME_CHANNELS, False))


def refusal(g: Granularity, space: Workspace | None) -> str | None:
    """None where some layer can be pruned at g, else a sentence with the first layer's reason."""
    if space is None:
        return None
    reasons = [supports(g, layer) for layer in space.layers]
    if not all(reasons):
        return None
    return N_("No layer of this network can be pruned at this granularity: {reason}").format(
        reason=reasons[0]
    )


def _family_changed() -> None:
    state.change(granularity=first_granularity(state.widget_value("granularity", "fine")))


def _size_input(
    key: str, label: str, value: int, smallest: int, changed: Callable[[], None]
) -> None:
    state.set_widget(key, value)
    st.number_input(
        label, smallest, LARGEST_SIZE, step=1, key=key, help=HELP[key], on_change=changed
    )


def _n_of_m_form(name: str) -> None:
    n, m = map(int, name.split(":"))
    left, right = st.columns(2)
    with left:
        _size_input("n", _("N kept"), n, 1, _n_of_m_changed)
    with right:
        _size_input("m", _("of M"), m, 2, _n_of_m_changed)


def _n_of_m_changed() -> None:
    state.change(granularity=f"{state.widget_value('n', 2)}:{state.widget_value('m', 4)}")


def _block_form(name: str) -> None:
    filters, channels = map(int, name.removeprefix("block:").split("x"))
    left, right = st.columns(2)
    with left:
        _size_input("p", _("Filters"), filters, 1, _block_changed)
    with right:
        _size_input("q", _("Channels"), channels, 1, _block_changed)


def _block_changed() -> None:
    state.change(granularity=f"block:{state.widget_value('p', 4)}x{state.widget_value('q', 4)}")


SIZE_FORMS: dict[str, Callable[[str], None]] = {"n_of_m": _n_of_m_form, "block": _block_form}


def schedule_form(plan: Plan, ignored: Mapping[str, str]) -> None:
    """A select box for the schedule, and a number input for its rounds; ignored: as above."""
    unused = ignored_words("schedule", ignored)
    name = plan.schedule.partition(":")[0]
    chosen = schedule(plan.schedule)
    state.set_widget("schedule", name)
    st.selectbox(
        _("Schedule"),
        tuple(SCHEDULES),
        format_func=lambda key: from_core(SCHEDULES[key].label),
        key="schedule",
        help=entry_help("schedule", chosen),
        disabled=bool(unused),
        on_change=state.change_from_widget,
        args=("schedule",),
    )
    if not chosen.fixed_rounds:
        state.set_widget("rounds", chosen.rounds)
        st.number_input(
            _("Rounds"),
            1,
            MAX_ROUNDS,
            step=1,
            key="rounds",
            help=HELP["rounds"],
            disabled=bool(unused),
            on_change=_rounds_changed,
        )
    if unused:
        st.caption(unused)


def _rounds_changed() -> None:
    name = state.plan().schedule.partition(":")[0]
    state.change(schedule=f"{name}:{state.widget_value('rounds', 1)}")

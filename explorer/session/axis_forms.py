"""The widgets of the axes that take sizes: N:M, blocks, and schedules with rounds."""

from collections.abc import Callable

import streamlit as st

from explorer.session import state
from explorer.texts.formats import HELP, entry_help
from pruning_core.granularity import GRANULARITIES, Granularity, granularity, supports
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.schedule import MOST_ROUNDS, SCHEDULES, schedule

MARK = " · not here"
SIZED = {"n_of_m": ("N:M", "2:4"), "block": ("Block", "block:4x4")}
"""Families of granularities with sizes of their own: label and first choice."""


def family(name: str) -> str:
    """The family of a granularity: fine, row, n_of_m, block ..."""
    return "block" if name.startswith("block:") else "n_of_m" if ":" in name else name


def families() -> dict[str, Granularity]:
    """Each family with the granularity that stands for it."""
    found: dict[str, Granularity] = {}
    for name in GRANULARITIES:
        found.setdefault(
            family(name), granularity(SIZED[family(name)][1] if family(name) in SIZED else name)
        )
    return found


def granularity_form(plan: Plan, space: Workspace | None) -> None:
    """The shape of cut, and its sizes where it has some."""
    entries = families()
    mine = family(plan.granularity)
    g = granularity(plan.granularity)
    entries[mine] = g
    reasons = {name: refusal(entry, space) for name, entry in entries.items()}

    def shown(name: str) -> str:
        label = SIZED[name][0] if name in SIZED else entries[name].label
        return label + (MARK if reasons[name] else "")

    state.set_widget("granularity", mine)
    st.selectbox(
        "Shape of a cut",
        tuple(entries),
        format_func=shown,
        key="granularity",
        help=entry_help("granularity", g),
        on_change=_family_changed,
    )
    if mine in SIZED:
        SIZE_FORMS[mine](plan.granularity)
    st.caption(reasons[mine] or g.help)


def refusal(g: Granularity, space: Workspace | None) -> str | None:
    """None where some layer can be cut so, else a sentence with the first layer's reason."""
    reasons = [supports(g, layer) for layer in space.layers] if space else [None]
    return f"No layer of this network can be cut this way: {reasons[0]}" if all(reasons) else None


def _family_changed() -> None:
    name = state.widget_value("granularity", "fine")
    state.change(granularity=SIZED[name][1] if name in SIZED else name)


def _pair(
    labels: tuple[str, str],
    keys: tuple[str, str],
    values: tuple[int, int],
    least: tuple[int, int],
    changed: Callable[[], None],
) -> None:
    for column, label, key, value, low in zip(
        st.columns(2), labels, keys, values, least, strict=True
    ):
        state.set_widget(key, value)
        column.number_input(label, low, 4096, step=1, key=key, help=HELP[key], on_change=changed)


def _n_of_m_form(name: str) -> None:
    n, m = map(int, name.split(":"))
    _pair(
        ("N kept", "of M"),
        ("n", "m"),
        (n, m),
        (1, 2),
        lambda: state.change(
            granularity=f"{state.widget_value('n', n)}:{state.widget_value('m', m)}"
        ),
    )


def _block_form(name: str) -> None:
    p, q = map(int, name.removeprefix("block:").split("x"))
    _pair(
        ("Filters", "Channels"),
        ("p", "q"),
        (p, q),
        (1, 1),
        lambda: state.change(
            granularity=f"block:{state.widget_value('p', p)}x{state.widget_value('q', q)}"
        ),
    )


SIZE_FORMS: dict[str, Callable[[str], None]] = {"n_of_m": _n_of_m_form, "block": _block_form}


def schedule_form(plan: Plan) -> None:
    """When to cut, and in how many rounds."""
    name = plan.schedule.partition(":")[0]
    found = schedule(plan.schedule)
    state.set_widget("schedule", name)
    st.selectbox(
        "Schedule",
        tuple(SCHEDULES),
        format_func=lambda key: SCHEDULES[key].label,
        key="schedule",
        help=entry_help("schedule", found),
        on_change=state.change_from_widget,
        args=("schedule",),
    )
    if name != "one_shot":
        state.set_widget("rounds", found.rounds)
        st.number_input(
            "Rounds",
            1,
            MOST_ROUNDS,
            step=1,
            key="rounds",
            help=HELP["rounds"],
            on_change=_rounds_changed,
        )


def _rounds_changed() -> None:
    name = state.plan().schedule.partition(":")[0]
    state.change(schedule=f"{name}:{state.widget_value('rounds', 1)}")

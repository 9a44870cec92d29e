"""The side bar: one widget with help for each choice of the plan."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import streamlit as st
from torch import nn

from explorer.session import cache, state, upload_dialog
from explorer.session.axis_forms import UNAVAILABLE, granularity_form, ignored_words, schedule_form
from explorer.session.foldable import foldable
from explorer.session.idle_choices import (
    decided_by_hand,
    idle_repairs,
    ignored_by,
)
from explorer.session.network_form import network_form
from explorer.session.notices import plain
from explorer.session.page_body import change_and_draw, forget_body
from explorer.session.shown_of_plan import between_steps, slider_state
from explorer.session.shown_task import use_words_of
from explorer.session.url import is_upload
from explorer.texts.formats import percent, whole_percent
from explorer.texts.help import HELP, entry_help
from explorer.texts.translate import N_, _, from_core
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, refusal
from pruning_core.granularity import granularity, supports
from pruning_core.model.kept_norms import ALL, KEPT
from pruning_core.pipeline import start_note
from pruning_core.plan import Plan
from pruning_core.registry import Entry, find
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.start_masks import DENSE, ZEROS, start_sparsity
from pruning_core.subjects import read_subjects
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, known_datasets, known_models
from pruning_core.zoo.uploads import uploads

MARKS = {"allocation": N_(" · not used now")}
"""By field: what the label of an entry with a reason gets, instead of `UNAVAILABLE`."""
PROBES = (64, 128, 256, 512, 1024, 2048, 5000)


@dataclass(frozen=True, eq=False)
class Choice:
    """What the pages show.

    plan: the part of the session's plan that can run now; `state.plan()` is the whole plan.
    space: None where the network or the images could not be opened.
    notes: sentences for the user, each with its kind, warning or error.
    """

    plan: Plan
    space: Workspace | None
    notes: tuple[tuple[str, str], ...]


def render(page: str) -> Choice:
    """Draws the side bar and returns what the pages show.

    page: the path of the page beside it; choices that it does not use are disabled.
    """
    forget_body()
    plan = _replace_unknown_names(state.plan())
    space = None
    notes = _warnings((*state.problems(), *read_subjects()[1]))
    network_form(plan, _own_uploads())
    upload_dialog.entry()
    try:
        space = _open_workspace(plan)
        use_words_of(space.dataset.task)
        _reading_notes(space)
    except PruningError as problem:
        notes += (("error", str(problem)),)
    st.subheader(_("What to remove"), anchor=False)
    ignored = ignored_by(page, plan, space)
    granularity_form(plan, space, ignored)
    _axis("criterion", _("Criterion"), CRITERIA, plan, _unusable_criteria(plan, space), ignored)
    _axis("allocation", _("Allocation"), ALLOCATIONS, plan, decided_by_hand(plan, space), ignored)
    _sparsity(plan, space, ignored)
    _axis("repair", _("Repair"), REPAIRS, plan, idle_repairs(space), ignored)
    if space is not None and space.removed_at_start:
        _start(plan, space)
    with foldable(_("More settings"), "more_settings", ":material/tune:"):
        _more_settings(plan, space, ignored)
    if space is not None:
        notes += _warnings(state.drop_unknown_layers(layer.name for layer in space.layers))
        plan, unused = cache.runnable_plan(state.plan(), space)
        notes += _warnings(unused)
    return Choice(plan, space, notes)


def known_names() -> dict[str, tuple[str, ...]]:
    """The names that an address may contain for network and images, with the visitor's uploads."""
    own = _own_uploads()
    return {"model": tuple(known_models(*own)), "dataset": tuple(known_datasets(*own))}


def _own_uploads() -> tuple[str, ...]:
    return tuple(stored.name for stored in uploads(state.owner()))


def _warnings(sentences: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(("warning", sentence) for sentence in sentences)


def _open_workspace(plan: Plan) -> Workspace:
    """Opens the network and its images, and shows the progress of a download."""
    place = st.empty()
    is_open = cache.is_open(plan.model, plan.dataset)
    shown = [-1]

    def show_progress(done: float, file: str) -> None:
        if (now := int(100 * done)) != shown[0]:
            shown[0] = now
            place.progress(min(now, 100), _("Downloading {file}", file=file))

    words = _("Loading the network and its data …")
    with nullcontext() if is_open else st.spinner(words):  # a spinner starts a thread
        space = cache.workspace(plan.model, plan.dataset, show_progress)
    if not is_open:
        place.empty()
    return space


def _reading_notes(space: Workspace) -> None:
    """How a network and data of the user's were read."""
    if space.notes:
        with foldable(_("How your network and data were read"), "reading_notes", ":material/info:"):
            for sentence in space.notes:
                st.caption(plain(sentence))


def _replace_unknown_names(plan: Plan) -> Plan:
    """Sets an unknown network or unknown images, from an imported plan, to the default."""
    sentences = []
    defaults = {}
    for field, names in known_names().items():
        if is_upload(field, getattr(plan, field)):
            continue
        try:
            find(dict.fromkeys(names), getattr(plan, field), field)
        except PruningError as problem:
            defaults[field] = getattr(Plan(), field)
            shown = N_("The default, {name}, is shown.").format(name=defaults[field])
            sentences.append(f"{problem} {shown}")
    if defaults:
        state.change(**defaults)
    for sentence in sentences:
        state.add_problem(sentence)
    return state.plan()


def _axis(
    field: str,
    label: str,
    entries: Mapping[str, Entry],
    plan: Plan,
    reasons: Mapping[str, str],
    ignored: Mapping[str, str],
) -> None:
    """A select box for one axis. reasons: for each unusable entry, a sentence why.

    Unusable entries get a mark. A caption says why the chosen entry is unusable, or why the axis,
    which is then disabled, is ignored; what the entry is, the help says.
    """
    chosen = getattr(plan, field)
    mark = MARKS.get(field, UNAVAILABLE)

    def entry_label(name: str) -> str:
        if name not in entries:
            return name
        return from_core(entries[name].label) + (_(mark) if name in reasons else "")

    state.set_widget(field, chosen)
    st.selectbox(
        label,
        tuple(entries),
        format_func=entry_label,
        key=field,
        help=entry_help(field, entries[chosen]),
        disabled=field in ignored,
        on_change=state.change_from_widget,
        args=(field,),
    )
    if why := ignored_words(field, ignored) or from_core(reasons.get(chosen, "")):
        st.caption(why)


def _unusable_criteria(plan: Plan, space: Workspace | None) -> dict[str, str]:
    """The criteria that can rank no layer that the granularity can prune, with a reason."""
    if space is None:
        return {}
    g = granularity(plan.granularity)
    layers = [layer for layer in space.layers if supports(g, layer) is None] or space.layers
    reasons = {
        name: [refusal(criterion, g, layer) for layer in layers]
        for name, criterion in CRITERIA.items()
    }
    return {
        name: N_("No layer of this network can use it: {reason}").format(reason=layer_reasons[0])
        for name, layer_reasons in reasons.items()
        if all(layer_reasons)
    }


def _sparsity(plan: Plan, space: Workspace | None, ignored: Mapping[str, str]) -> None:
    """The slider of the global sparsity. Where it has no effect it is disabled, with the reason."""
    fraction, reason = slider_state(plan, space)
    if unused := ignored_words("sparsity", ignored):
        fraction = plan.sparsity
        reason = unused
    state.set_widget("sparsity", whole_percent(fraction))
    st.slider(
        _("Sparsity"),
        0,
        100,
        step=1,
        format="%d%%",
        key="sparsity",
        help=HELP["sparsity"],
        disabled=bool(reason),
        on_change=change_and_draw,
        args=(space, _sparsity_changed),
        kwargs={"slider": True},
    )
    if reason:
        st.caption(reason)
        if plan.overrides and not unused:
            st.button(
                _("Back to {name}", name=from_core(ALLOCATIONS[plan.allocation].label)),
                key="back_to_allocation",
                icon=":material/undo:",
                help=HELP["reset_all"],
                on_click=state.set_ratios,
                args=({},),
            )
    elif between_steps(fraction):
        requested = percent(fraction)
        st.caption(
            _("The plan requests {sparsity}; this slider has steps of 1%.", sparsity=requested)
        )


def _start(plan: Plan, space: Workspace) -> None:
    """A check box for a network that is sparse already."""
    state.set_widget("start", plan.start == ZEROS)
    st.checkbox(
        _("Keep weights that are zero already"),
        key="start",
        help=HELP["start"],
        on_change=_start_changed,
    )
    share = start_sparsity(space.removed_at_start, space.layers)
    note = start_note(plan, space)
    st.caption(
        from_core(note)
        if note
        else _(
            "{share} of the prunable weights are zero. Pruning may keep them, and training may "
            "change them.",
            share=f"{share:.1%}",
        )
    )


def _start_changed() -> None:
    state.change(start=ZEROS if state.widget_value("start", False) else DENSE)


def _sparsity_changed() -> None:
    state.change(sparsity=state.widget_value("sparsity", 50) / 100)


def _more_settings(plan: Plan, space: Workspace | None, ignored: Mapping[str, str]) -> None:
    """The settings that a first visit does not need."""
    _probe(plan, space)
    needs_data = find(CRITERIA, plan.criterion, "criterion").needs_data
    _number(
        "calibration",
        _("Calibration {samples}", samples=_samples(space)),
        plan.calibration,
        (1, 50_000, 64),
        needs_data or plan.repair != NONE,
    )
    _number("seed", _("Seed"), plan.seed, (0, 2**31 - 1, 1), "seed" not in ignored)
    if unused := ignored_words("seed", ignored):
        st.caption(unused)
    state.set_widget("allow_collapse", plan.allow_collapse)
    st.toggle(
        _("A layer may collapse"),
        key="allow_collapse",
        help=HELP["allow_collapse"],
        on_change=state.change_from_widget,
        args=("allow_collapse",),
    )
    if space is not None and granularity(plan.granularity).removes_outputs:
        _norms(plan, space)
    schedule_form(plan, ignored)


def _samples(space: Workspace | None) -> str:
    """What the task's samples are called: images."""
    return from_core(space.dataset.task.samples) if space else _("images")


def _norms(plan: Plan, space: Workspace) -> None:
    """A switch for networks with norms over channels."""
    over_channels = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    if plan.norms == KEPT or any(isinstance(m, over_channels) for m in space.model.modules()):
        state.set_widget("norms", plan.norms == KEPT)
        st.toggle(
            _("Norms average over kept channels only"),
            key="norms",
            help=HELP["norms"],
            on_change=lambda: state.change(
                norms=KEPT if state.widget_value("norms", False) else ALL
            ),
        )


def _probe(plan: Plan, space: Workspace | None) -> None:
    """The number of probe images, at most as many as the validation split has."""
    available = len(space.dataset.val) if space else max(PROBES)
    chosen = min(plan.probe, available)
    sizes = {size for size in PROBES if size < available}
    state.set_widget("probe", chosen)
    st.select_slider(
        _("Probe {samples}", samples=_samples(space)),
        sorted(sizes | {chosen, min(available, max(PROBES))}),
        key="probe",
        help=HELP["probe"],
        on_change=state.change_from_widget,
        args=("probe",),
    )


def _number(
    field: str, label: str, value: int, limits: tuple[int, int, int], enabled: bool = True
) -> None:
    """A whole number of the plan. limits: smallest, largest, step."""
    smallest, largest, step = limits
    state.set_widget(field, value)
    st.number_input(
        label,
        smallest,
        largest,
        step=step,
        key=field,
        help=HELP[field],
        disabled=not enabled,
        on_change=state.change_from_widget,
        args=(field,),
    )

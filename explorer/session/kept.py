"""What pages keep in the run history, and which run the present plan was made from."""

from collections.abc import Sequence

import streamlit as st

from explorer.session import cache, state
from explorer.session.kernel_threads import with_kernel_threads
from explorer.session.notices import plain
from explorer.texts.translate import _, from_core
from pruning_core.compress.storage_sizes import computed_sizes
from pruning_core.granularity import granularity
from pruning_core.history import History, Keeping, Run, evaluated_plan
from pruning_core.history.records import evaluated_id
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace
from pruning_core.zoo.uploads import is_upload_name, uploads

PARENT = "history parent"
SAYS_KEPT = "says kept"


def new_run(kind: str, plan: Plan, space: Workspace) -> Run:
    """A run that begins now.

    Its parent is the run that this session kept or opened last, else the same plan without
    training, if it is kept.
    """
    history = cache.history()
    if history is None:
        return Run(kind, plan.to_json(), "")
    base = cache.fingerprint(plan, space)
    same = evaluated_id(plan, base) if _is_kept(plan, space, history) else None
    return Run(kind, plan.to_json(), base, parent=_parent(base) or same)


def set_parent(run: Run) -> None:
    """From now on, runs of the same network and images are made from this one."""
    state.store(PARENT, (run.id, run.fingerprint))


def _parent(fingerprint: str) -> str | None:
    run, base = state.stored(PARENT, ("", ""))
    return str(run) if run and base == fingerprint else None


def keep_button(plan: Plan, space: Workspace) -> None:
    """Keeps the plan as it is measured now, without training."""
    if (history := cache.history()) is None:
        return
    why = from_core(history.read_only)
    kept = _is_kept(plan, space, history)
    state.store(SAYS_KEPT, kept)
    st.button(
        _("Kept") if kept else _("Keep this run"),
        key="keep_plan",
        icon=":material/check:" if kept else ":material/bookmark_add:",
        type="tertiary",
        disabled=kept or bool(why),
        help=why
        or _(
            "Adds the plan with its numbers and masks to the page *Runs*, where you can compare "
            "it with others and open it again."
        ),
        on_click=_keep,
    )


def _is_kept(plan: Plan, space: Workspace, history: History) -> bool:
    try:
        return history.has(evaluated_id(plan, cache.fingerprint(plan, space)))
    except PruningError:
        return False  # the history cannot be read: a click on the button says why


def keep_button_changes() -> bool:
    """Does the button have to say something else about the present plan than it says?"""
    history = cache.history()
    return history is not None and state.stored(SAYS_KEPT, False) != _is_kept(*_present(), history)


def _present() -> tuple[Plan, Workspace]:
    wanted = state.plan()
    space = cache.workspace(wanted.model, wanted.dataset)
    return cache.runnable_plan(wanted, space)[0], space


@with_kernel_threads
def _keep() -> None:
    """Keeps the present plan: in the button's callback, which no other action of the user ends."""
    history = cache.history()
    if history is None:
        return
    try:
        plan, space = _present()
        masks = cache.masks(plan, space)
        sizes = computed_sizes(space.model, space.layers, masks, granularity(plan.granularity))
        base = cache.fingerprint(plan, space)
        parent = _parent(base)
        run, files = evaluated_plan(
            plan,
            base,
            masks,
            cache.report(plan, space),
            cache.dense_accuracy(plan, space),
            cache.accuracy(plan, space),
            {size.format: size.bytes for size in sizes},
            parent=None if parent == evaluated_id(plan, base) else parent,
        )
        history.save(run, files)
    except PruningError as problem:
        state.add_problem(str(problem))
    else:
        set_parent(run)


def keeping_note(events: Sequence[object]) -> None:
    """Says where a finished run is kept, or why it is not."""
    keeping = next((event for event in reversed(events) if isinstance(event, Keeping)), None)
    if keeping is None:
        return
    if keeping.sentence:
        st.warning(plain(keeping.sentence), icon=":material/history:")
    else:
        kept = _("Kept as run `{run}` on the page *Runs*.", run=keeping.run.id)
        st.caption(f":material/bookmark: {kept}")


def visible(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs that this browser may list: those of other visitors' uploads are left out.

    Every run whose id the visitor knows can be opened.
    """
    own = {stored.name for stored in uploads(state.owner())}
    asked = state.page_text("run").split(",")
    return tuple(
        run
        for run in runs
        if run.id in asked
        or all(not is_upload_name(name) or name in own for name in (run.model, run.dataset))
    )

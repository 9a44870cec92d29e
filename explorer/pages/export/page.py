"""The page Export: download masks, weights, plan and script, and upload a plan."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from explorer.pages.export.downloads import Files, expected_line
from explorer.pages.export.savings import savings
from explorer.pages.export.storage import computed, storage, thinned
from explorer.pages.export.thinned import thinned_files
from explorer.session import cache, state
from explorer.session.address_choice import address_choice
from explorer.session.demo import uploader
from explorer.session.foldable import foldable
from explorer.session.notices import plain
from explorer.session.url import of_layers, refuse_custom
from explorer.texts.formats import interval_words, percent, title, value_text
from explorer.texts.help import HELP
from explorer.texts.plan_words import (
    cut_words,
    data_label,
    flow_tune_words,
    flow_words,
    network_label,
    ranked_by,
    tune_words,
)
from explorer.texts.task_words import for_task, interval_help
from explorer.texts.translate import N_, _, from_core, n_
from explorer.training.compare import measured_on
from explorer.training.run_panel import finished_run
from pruning_core.export import DENSE, script_or_reason
from pruning_core.export.thinned import PURPOSE as THINNED_PURPOSE
from pruning_core.flows import FLOWS, flow
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.types import Evaluation, Finished, PruningError, Report
from pruning_core.workspaces import Workspace, datasets_of, known_datasets, known_models

LEAD = N_(
    "Download the result: masks that plain PyTorch loads, the weights, the plan, and a script that "
    "loads the masks and measures the accuracy."
)
BASE = N_("Masks on the base network")
TUNED = N_("Fine-tuned network")
PURPOSE = {
    "masks.safetensors": N_(
        "The masks: one boolean tensor per parameter, True = keep. load_masks.py reads this file. "
        "Where whole filters or heads are removed, it also has masks for biases and norm "
        "parameters that have no effect any more."
    ),
    "masks.npz": N_("The same masks for NumPy, with the plan as text."),
    "masks.pt": N_(
        "The same masks for torch.load(…, weights_only=True) and "
        "torch.nn.utils.prune.custom_from_mask."
    ),
    "weights.safetensors": N_("The whole state_dict, removed weights at zero."),
    "sparse.safetensors": N_(
        "The same network without its removed weights: nonzeros and positions, compressed. "
        "load_sparse.py restores every value bit for bit."
    ),
    "load_sparse.py": N_(
        "A short program that reads sparse.safetensors with torch and safetensors."
    ),
    "plan.json": N_(
        "All choices. Upload it below, or run it: python -m pruning_core run plan.json --out DIR."
    ),
    "load_masks.py": N_(
        "A short program that loads the masks and prints the accuracy measured here."
    ),
    DENSE: N_("The network before pruning: its answers are the targets of load_masks.py."),
}
RUN_IT = N_(
    "Run `python load_masks.py`. Its first lines say which files it needs beside it. It does not "
    "import this package."
)
SNIPPET = """\
from safetensors.torch import load_file

model.load_state_dict(load_file("weights.safetensors"))
masks = load_file("masks.safetensors")

def hold():
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
"""
USE_IT = N_(
    "`model` is your own network. Removed weights are zero in the file. To train further, call "
    "`hold()` after each step of the optimizer: they stay zero."
)
QUIET: dict[str, Any] = {
    "delta_color": "off",
    "delta_arrow": "off",
    "border": True,
    "height": "stretch",
}
BYTES = "application/octet-stream"
MIME = {"json": "application/json", "py": "text/x-python", "zip": "application/zip"}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is exported: the files, computed counts, and the accuracy on the test split.

    accuracy: None where it is not measured yet.
    """

    files: Files
    report: Report
    accuracy: Evaluation | None


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page. The accuracy is measured last, so that the page appears before it."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    run = finished_run(plan, space)
    choice = _choose_weights(plan, tuned=run is not None and run.tuned is not None)
    subject = subject_of(plan, space, run if choice == TUNED else None)
    st.markdown(_title(plan, space, tuned=choice == TUNED))
    _edits_note(plan)
    first = st.container(
        horizontal=True, vertical_alignment="center", gap="medium", key="export_first"
    )
    numbers = st.grid(2, min_column_width=220)
    _removed(numbers, _requested(plan, space), subject.report)
    accuracy = numbers.cell()
    savings(plan, space, subject.report, computed(subject.files), thinned(subject.files))
    bits = storage(subject.files, subject.report)
    files = replace(subject.files, share_bits=bits, thinned=thinned_files(subject.files))
    with first:
        _zip(plan, files)
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        _downloads(files)
    with halves.cell():
        _snippet()
        _script(files)
        output = st.container()
    _upload()
    with accuracy.skeleton(height=130):
        measured = subject.accuracy or cache.test_accuracy(plan, space)
        _accuracy(accuracy, measured)
        if files.script:
            _expected_output(output, space, measured)


def _choose_weights(plan: Plan, *, tuned: bool) -> str:
    """Which network the files hold. tuned: a fine-tuned network of this plan exists."""
    options = (BASE, TUNED) if tuned else (BASE,)
    choice = st.segmented_control(
        _("Weights"),
        options,
        format_func=_,
        required=True,
        help=HELP["export_weights"],
        **address_choice("export_weights", {name: name for name in options}, options[-1]),
    )
    other_flow = flow(plan.flow) != FLOWS["rounds"]
    if not tuned:
        page = _("Flows") if other_flow else _("Fine-tune & compare")
        st.caption(
            _(
                "No run of exactly this plan has finished. Start one on the page *{page}*.",
                page=page,
            )
        )
    if other_flow and choice == BASE:
        st.info(
            _(
                "The plan's flow is {flow}. These masks are not the flow's: they prune the base "
                "network in one step, by the choices of the side bar.",
                flow=flow_words(plan.flow),
            ),
            icon=":material/timeline:",
        )
    return str(choice)


def _title(plan: Plan, space: Workspace, *, tuned: bool) -> str:
    """What the files hold, in words. tuned: the result of the plan's run."""
    by_hand = cache.requested_by_hand(plan, space)
    if not tuned:
        return f"**{plain(cut_words(plan, by_hand))}**"
    if flow(plan.flow) == FLOWS["rounds"]:
        return f"**{plain(cut_words(plan, by_hand))}** {tune_words(plan)}"
    words = plain(cut_words(plan, by_hand, ranked_by(plan)))
    flow_text = _("{flow}: {training}", flow=flow_words(plan.flow), training=flow_tune_words(plan))
    return f"**{words}** {flow_text}"


def _edits_note(plan: Plan) -> None:
    """How many groups were set by hand, and that they may break an N:M pattern."""
    edited = sum(len(edits.groups) for edits in plan.edits_now)
    if not edited:
        return
    pattern = ""
    if granularity(plan.granularity).n_kept is not None:
        pattern = _(
            " Code that requires {pattern} everywhere may not accept them.",
            pattern=plan.granularity,
        )
    words = n_(
        "{n} group of these masks was set by hand.",
        "{n} groups of these masks were set by hand.",
        edited,
    )
    st.caption(words + pattern)


def subject_of(plan: Plan, space: Workspace, run: Finished | None) -> Subject:
    """What is exported. run: the finished run of the plan, None for masks on the base network."""
    if run is not None:
        files = Files(plan, space, run.masks, run.model, *_load_masks(plan, space, tuned=True))
        return Subject(files, run.report, run.tuned)
    script = _load_masks(plan, space, tuned=False)
    files = Files(plan, space, cache.masks(plan, space), None, *script)
    return Subject(files, cache.report(plan, space), None)


def _load_masks(plan: Plan, space: Workspace, *, tuned: bool) -> tuple[str, str]:
    """`script_or_reason`, kept: it reads samples of the data."""
    make = partial(script_or_reason, plan, space, tuned=tuned)
    return cache.cached_detail(make, space, "script", plan.probe, plan.norms, plan.repair, tuned)


def _requested(plan: Plan, space: Workspace) -> str:
    """The requested sparsity: of the slider, of N:M, or of the ratios set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    by_hand = cache.requested_by_hand(plan, space)
    if by_hand is not None:
        return _("{share} requested by hand", share=percent(by_hand))
    return _("{share} requested", share=percent(plan.sparsity if fixed is None else fixed))


def _removed(place: DeltaGenerator, requested: str, report: Report) -> None:
    """How many weights are removed. How many remain is the first number of `savings`."""
    place.metric(
        _("Weights removed · computed"),
        percent(report.sparsity_model),
        requested,
        help=HELP["removed"],
        **QUIET,
    )


def _accuracy(place: DeltaGenerator, measured: Evaluation) -> None:
    task = measured.task
    place.metric(
        _("{value} · measured", value=title(task)),
        value_text(measured.value, task),
        _(
            "95%: {interval}, {n:,} test {samples}",
            interval=interval_words(measured.interval, task),
            n=measured.n,
            samples=from_core(task.samples),
        ),
        help=interval_help(task),
        **QUIET,
    )


def _snippet() -> None:
    """How the two main files are used without this package."""
    st.subheader(_("Use it in your project"), anchor=False)
    st.code(SNIPPET, language="python", wrap_lines=True)
    st.caption(_(USE_IT))


def _script(files: Files) -> None:
    """Draws the text of load_masks.py, or why there is none."""
    st.subheader(_("The script"), anchor=False)
    if files.no_script:
        st.info(plain(files.no_script), icon=":material/info:")
        return
    st.caption(_(RUN_IT))
    with foldable("load_masks.py", "script_shown", ":material/code:"):
        st.code(files.script, language="python", wrap_lines=True)


def _expected_output(place: DeltaGenerator, space: Workspace, measured: Evaluation) -> None:
    """What the script prints."""
    place.caption(_("The script prints:"))
    place.code(expected_line(measured), language=None)
    place.caption(measured_on(space, measured.n))


def _zip(plan: Plan, files: Files) -> None:
    """The button for everything, and what it holds."""
    stem = f"{plan.model}-{plan.dataset}-{plan.granularity.replace(':', '-')}"
    st.download_button(
        _("All files as one .zip"),
        files.zip,
        f"{stem}.zip",
        MIME["zip"],
        key="export_zip",
        type="primary",
        icon=":material/folder_zip:",
        on_click="ignore",
    )
    st.caption(", ".join([*files.names, *(f"thinned/{name}" for name in files.thinned)]))


def _downloads(files: Files) -> None:
    st.subheader(_("Files"), anchor=False)
    for name in files.names:
        _download(
            name, partial(files.make, name), for_task(_(PURPOSE[name]), files.space.dataset.task)
        )
    if files.thinned:
        st.markdown(_("**Thinned network** (in the .zip: the folder *thinned*)"))
    for name, content in files.thinned.items():
        _download(name, content, from_core(THINNED_PURPOSE[name]))


def _download(name: str, content: bytes | Callable[[], bytes], purpose: str) -> None:
    """One file: its button, and what it is for."""
    button, text = st.columns([4, 5], vertical_alignment="center", gap="small")
    button.download_button(
        name,
        content,
        name,
        MIME.get(name.rpartition(".")[2], BYTES),
        width="stretch",
        key=f"export_{name}",
        icon=":material/download:",
        on_click="ignore",
    )
    text.caption(purpose)


def _upload() -> None:
    """A field for a plan.json, and what became of the last one."""
    st.subheader(_("Upload a plan"), anchor=False)
    uploader(
        _("A plan.json from this page or from the command line"),
        "json",
        "plan_upload",
        max_upload_size=1,
        on_change=_uploaded,
        help=_("Sets all choices of the side bar and of the training."),
    )
    outcome, sentence = state.stored("plan_import", ("", ""))
    if outcome == "done":
        st.success(plain(sentence), icon=":material/check:")
    elif outcome:
        st.error(plain(sentence), icon=":material/error:")


def _uploaded() -> None:
    """Sets the uploaded plan. A plan that cannot be opened here changes nothing."""
    upload: UploadedFile | None = state.widget_value("plan_upload", None)
    if upload is None:
        return state.store("plan_import", ("", ""))
    try:
        plan = read_plan(upload.getvalue())
        with st.spinner(_("Opening the plan's network and images …")):
            space = cache.workspace(plan.model, plan.dataset)
    except PruningError as problem:
        sentence = _("{problem} Nothing was changed.", problem=from_core(str(problem)))
        return state.store("plan_import", ("failed", sentence))
    state.set_plan(plan)
    known = of_layers(plan, {layer.name for layer in space.layers})  # the side bar names others
    sentence = _("The plan of {file} was set: {plan}", file=upload.name, plan=cut_words(known))
    return state.store("plan_import", ("done", sentence))


def read_plan(content: bytes) -> Plan:
    """The plan of a file.

    Raises PruningError for a file that is not a plan, and for a plan whose network or images this
    machine does not have.
    """
    try:
        plan = Plan.from_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PruningError(_("The file is not text, so it is not a plan.")) from error
    refuse_custom(plan)
    find(known_models(plan.model), plan.model, "network")
    find(known_datasets(plan.dataset), plan.dataset, "data set")
    if plan.dataset not in datasets_of(plan.model):
        raise PruningError(
            _(
                "There is no {network} trained on {data} on this machine.",
                network=network_label(plan.model),
                data=data_label(plan.dataset),
            )
        )
    return plan

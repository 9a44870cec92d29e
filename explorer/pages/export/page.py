"""Export: take masks, weights, plan and a script that loads them; and bring a plan in."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from explorer.pages.export.downloads import Files, expected_line, files_of
from explorer.pages.finetune.compare import which_images
from explorer.pages.finetune.page import finished_run
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.session.url import refuse_custom
from explorer.texts.formats import HELP, percent
from explorer.texts.plan_words import cut_words, flow_tune_words, flow_words, ranked_by, tune_words
from pruning_core.flows import FLOWS, flow
from pruning_core.granularity import granularity
from pruning_core.pipeline import Workspace, uses_whole_test
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.types import Evaluation, Finished, PruningError, Report
from pruning_core.zoo import DATASETS, MODELS, datasets_for

LEAD = "Take the result with you: masks that plain PyTorch loads, the weights, the plan, and a script that proves they work."
BASE = "Masks on the base network"
TUNED = "Fine-tuned network"
PURPOSE = {
    "masks.safetensors": "The masks: one boolean tensor per parameter, True = keep. What load_masks.py reads. Where whole "
    "filters or heads went, biases and norms that fall silent with them have masks too.",
    "masks.npz": "The same masks for NumPy, with the plan as text.",
    "masks.pt": "The same masks for torch.load(…, weights_only=True) and torch.nn.utils.prune.custom_from_mask.",
    "weights.safetensors": "The whole state_dict, removed weights at zero.",
    "plan.json": "All choices. Bring it back below, or replay it: python -m pruning_core run plan.json --out DIR.",
    "load_masks.py": "A short program that loads the masks and prints the accuracy measured here.",
}
RUN_IT = (
    "Keep it beside masks.safetensors (of a fine-tuned network: weights.safetensors too). In the explorer's folder run "
    "`PYTHONPATH=. .venv/bin/python PATH/TO/load_masks.py`."
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
    """What is exported: files to be made when asked for, counts, and its accuracy on the exam split
    (None: not measured yet).
    """

    files: Files
    report: Report
    accuracy: Evaluation | None


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(LEAD)
    done = finished_run(plan, space)
    tuned = done is not None and done.tuned is not None
    what = _choice(plan, tuned=tuned)
    subject = subject_of(plan, space, done if what == TUNED else None)
    st.markdown(_title(plan, space, tuned=what == TUNED))
    if edited := sum(len(each.groups) for each in plan.edits_now):
        pattern = granularity(plan.granularity).n_kept is not None
        broken = (
            f": code that needs {plan.granularity} everywhere may refuse them" if pattern else ""
        )
        st.caption(f"The masks hold {edited:,} edit{'s' * (edited > 1)} by hand{broken}.")
    numbers = st.grid(3, min_column_width=220)
    _counts(numbers, _requested(plan, space), subject.report)
    accuracy = numbers.cell()
    halves = st.grid(2, min_column_width=400, gap="medium")
    with halves.cell():
        _downloads(plan, subject.files)
    with halves.cell():
        st.subheader("The script", anchor=False)
        st.caption(RUN_IT)
        st.code(subject.files.script, language="python", height=440, wrap_lines=True)
        output = st.container()
    _import()
    with accuracy.skeleton(height=130):
        _accuracy(
            accuracy, output, plan, space, subject.accuracy or cache.test_accuracy(plan, space)
        )


def _choice(plan: Plan, *, tuned: bool) -> str:
    """Which network the files hold."""
    options = (BASE, TUNED) if tuned else (BASE,)
    what = st.segmented_control(
        "Weights",
        options,
        default=options[-1],
        required=True,
        key="export_weights",
        bind="query-params",
        help=HELP["export_weights"],
    )
    other = flow(plan.flow) != FLOWS["rounds"]
    if not tuned:
        where = "Flows" if other else "Fine-tune & compare"
        st.caption(
            f"There is no finished fine-tuning run of exactly this plan; *{where}* makes one."
        )
    if other and what == BASE:
        st.info(
            f"The plan's flow is {flow_words(plan.flow)}. These masks are not the flow's: they are the side bar's cut of the "
            "base network, in one step.",
            icon=":material/timeline:",
        )
    return str(what)


def _title(plan: Plan, space: Workspace, *, tuned: bool) -> str:
    """What the files hold, in words. tuned: the result of the plan's run."""
    hands = cache.requested_by_hand(plan, space)
    if not tuned:
        return f"**{cut_words(plan, hands)}**"
    if flow(plan.flow) == FLOWS["rounds"]:
        return f"**{cut_words(plan, hands)}** {tune_words(plan)}"
    return f"**{cut_words(plan, hands, ranked_by(plan))}** {flow_words(plan.flow)}: {flow_tune_words(plan)}"


def subject_of(plan: Plan, space: Workspace, done: Finished | None) -> Subject:
    """done: the fine-tuned run whose weights are exported, None for masks on the base network."""
    whole = uses_whole_test(space.dataset)
    if done is not None:
        return Subject(
            files_of(plan, space, done.masks, done.model, whole_test=whole), done.report, done.tuned
        )
    return Subject(
        files_of(plan, space, cache.masks(plan, space), None, whole_test=whole),
        cache.report(plan, space),
        None,
    )


def _requested(plan: Plan, space: Workspace) -> str:
    """The sparsity asked for: by the slider, by N:M, or by the ratios set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    if (share := cache.requested_by_hand(plan, space)) is not None:
        return f"ratios by hand ask for {percent(share)}"
    return f"requested {percent(plan.sparsity if fixed is None else fixed)}"


def _counts(place: DeltaGenerator, wanted: str, report: Report) -> None:
    """What is gone and what is left."""
    place.metric(
        "Weights removed · computed",
        percent(report.sparsity_masked),
        wanted,
        help=HELP["achieved"],
        **QUIET,
    )
    total = f"of {report.parameters:,} parameters"
    place.metric(
        "Parameters left · computed", f"{report.nonzeros:,}", total, help=HELP["nonzeros"], **QUIET
    )


def _accuracy(
    place: DeltaGenerator, output: DeltaGenerator, plan: Plan, space: Workspace, found: Evaluation
) -> None:
    low, high = found.interval
    said = f"95%: {100 * low:.1f} to {100 * high:.1f}%, n = {found.n:,}"
    place.metric("Accuracy · measured", percent(found.top1), said, help=HELP["interval"], **QUIET)
    output.caption("It will print:")
    output.code(expected_line(found), language=None)
    output.caption(which_images(space, found.n))


def _downloads(plan: Plan, files: Files) -> None:
    st.subheader("Files", anchor=False)
    stem = f"{plan.model}-{plan.dataset}-{plan.granularity.replace(':', '-')}"
    st.download_button(
        "Everything as one .zip",
        files.zip,
        f"{stem}.zip",
        MIME["zip"],
        key="export_zip",
        type="primary",
        icon=":material/folder_zip:",
        on_click="ignore",
    )
    for name, purpose in PURPOSE.items():
        button, told = st.columns([4, 5], vertical_alignment="center", gap="small")
        button.download_button(
            name,
            partial(files.make, name),
            name,
            MIME.get(name.rpartition(".")[2], BYTES),
            width="stretch",
            key=f"export_{name}",
            icon=":material/download:",
            on_click="ignore",
        )
        told.caption(purpose)


def _import() -> None:
    st.subheader("Bring a plan in", anchor=False)
    st.file_uploader(
        "A plan.json from this page or from the command line",
        "json",
        key="plan_upload",
        max_upload_size=1,
        on_change=_uploaded,
        help="Sets all choices of the side bar and of fine-tuning at once.",
    )
    kind, sentence = state.stored("plan_import", ("", ""))
    if kind:
        show, icon = (
            (st.success, ":material/check:") if kind == "done" else (st.error, ":material/error:")
        )
        show(plain(sentence), icon=icon)


def _uploaded() -> None:
    """The uploaded plan takes the place of the present one; one that cannot be opened here changes
    nothing.
    """
    upload: UploadedFile | None = state.widget_value("plan_upload", None)
    if upload is None:
        return state.store("plan_import", ("", ""))
    try:
        plan = read_plan(upload.getvalue())
        with st.spinner("Opening the plan's network and images …"):
            cache.workspace(plan.model, plan.dataset)
    except PruningError as problem:
        return state.store("plan_import", ("failed", f"{problem} Nothing was changed."))
    state.set_plan(plan)
    return state.store(
        "plan_import", ("done", f"The plan of {upload.name} is set: {cut_words(plan)}")
    )


def read_plan(content: bytes) -> Plan:
    """The plan of a file. Raises PruningError, in one sentence, for one that this machine has no
    network or images for.
    """
    try:
        plan = Plan.from_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PruningError("The file is not text, so it is no plan.") from error
    refuse_custom(plan)
    find(MODELS, plan.model, "network")
    find(DATASETS, plan.dataset, "data set")
    if plan.dataset not in datasets_for(plan.model):
        raise PruningError(f"There is no {plan.model} trained on {plan.dataset} on this machine.")
    return plan

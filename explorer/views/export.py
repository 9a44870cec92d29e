"""Export: take masks, weights, plan and a script that loads them; and bring a plan in."""

from dataclasses import dataclass

import streamlit as st

from explorer import cache, state
from explorer.downloads import Files, expected_line, files_of
from explorer.plan_words import cut_words, tune_words
from explorer.text import HELP, percent
from explorer.views.compare import which_images
from explorer.views.finetune import finished_run
from pruning_core.granularity import granularity
from pruning_core.pipeline import SMALL, Workspace
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.types import Evaluation, Finished, PruningError, Report
from pruning_core.zoo import DATASETS, MODELS, datasets_for

LEAD = "Take the result with you: masks that plain PyTorch loads, the weights, the plan, and a script that proves they work."
BASE, TUNED = "Masks on the base network", "Fine-tuned network"
PURPOSE = {
    "masks.safetensors": "The masks: one boolean tensor per parameter, True = keep. What load_masks.py reads.",
    "masks.npz": "The same masks for NumPy, with the plan as text.",
    "masks.pt": "The same masks for torch.load(…, weights_only=True) and torch.nn.utils.prune.custom_from_mask.",
    "weights.safetensors": "The whole state_dict, removed weights at zero.",
    "plan.json": "All choices. Bring it back below, or replay it: python -m pruning_core run plan.json --out DIR.",
    "load_masks.py": "A short program that loads the masks and prints the accuracy below.",
}
MIME = {"json": "application/json", "py": "text/x-python", "zip": "application/zip"}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is exported: files to be made when asked for, counts, and its accuracy on the exam split (None: not measured yet)."""

    files: Files
    report: Report
    accuracy: Evaluation | None


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(LEAD)
    done = finished_run(plan, space)
    tuned = done is not None and done.tuned is not None
    what = _choice(plan, tuned=tuned)
    subject = _subject(plan, space, done if what == TUNED else None)
    st.markdown(f"**{cut_words(plan)}** {tune_words(plan) if what == TUNED else ''}")
    numbers = st.grid(3, min_column_width=220)
    _counts(numbers, plan, subject.report)
    accuracy = numbers.cell()
    left, right = st.columns([5, 6], gap="medium")
    with left:
        _downloads(plan, subject.files)
    with right:
        st.subheader("The script", anchor=False)
        st.code(subject.files.script, language="python", height=420)
        output = st.container()
    _import()
    with accuracy.skeleton(height=130):
        _accuracy(accuracy, output, plan, space, subject.accuracy or cache.exam_accuracy(plan, space))


def _choice(plan: Plan, *, tuned: bool) -> str:
    """Which network the files hold."""
    options = (BASE, TUNED) if tuned else (BASE,)
    what = st.segmented_control("Weights", options, default=options[-1], required=True, key="export_weights", bind="query-params",
                                help=HELP["export_weights"])  # fmt: skip
    if not tuned:
        st.caption("There is no finished fine-tuning run of exactly this plan; *Fine-tune & compare* makes one.")
    return str(what)


def _subject(plan: Plan, space: Workspace, done: Finished | None) -> Subject:
    whole = max(space.dataset.shape[1:]) <= SMALL
    if done is not None:
        return Subject(files_of(plan, space, done.masks, done.model, whole_test=whole), done.report, done.tuned)
    return Subject(files_of(plan, space, cache.masks(plan, space), None, whole_test=whole), cache.report(plan, space), None)


def _counts(place: st.delta_generator.DeltaGenerator, plan: Plan, report: Report) -> None:
    g = granularity(plan.granularity)
    asked = g.fixed_ratio if g.fixed_ratio is not None else plan.sparsity
    manual = plan.allocation == "manual" or bool(plan.overrides)
    place.metric("Removed · computed", percent(report.sparsity_masked), border=True, height="stretch", help=HELP["achieved"],
                 delta="ratios set by hand" if manual else f"requested {percent(asked)}", delta_color="off", delta_arrow="off")  # fmt: skip
    place.metric("Non-zero · computed", f"{report.nonzeros:,}", border=True, height="stretch", help=HELP["nonzeros"],
                 delta=f"of {report.parameters:,} parameters", delta_color="off", delta_arrow="off")  # fmt: skip


def _accuracy(
    place: st.delta_generator.DeltaGenerator, output: st.delta_generator.DeltaGenerator, plan: Plan, space: Workspace, found: Evaluation
) -> None:  # fmt: skip
    low, high = found.interval
    place.metric("Accuracy · measured", f"{found.top1:.6f}", f"95%: {100 * low:.1f} to {100 * high:.1f}%, n = {found.n:,}",
                 delta_color="off", delta_arrow="off", border=True, height="stretch", help=HELP["interval"])  # fmt: skip
    output.caption("It will print:")
    output.code(expected_line(found), language=None)
    output.caption(which_images(plan, space, found.n))


def _downloads(plan: Plan, files: Files) -> None:
    st.subheader("Files", anchor=False)
    stem = f"{plan.model}-{plan.dataset}-{plan.granularity.replace(':', '-')}"
    st.download_button("Everything as one .zip", files.zip, f"{stem}.zip", MIME["zip"], key="export_zip", type="primary",
                       icon=":material/folder_zip:", on_click="ignore")  # fmt: skip
    for name in PURPOSE:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.download_button(name, lambda name=name: files.make(name), name, MIME.get(name.rpartition(".")[2], "application/octet-stream"),
                               key=f"export_{name}", icon=":material/download:", on_click="ignore", width=215)  # fmt: skip
            st.caption(PURPOSE[name])


def _import() -> None:
    st.subheader("Bring a plan in", anchor=False)
    st.file_uploader("A plan.json from this page or from the command line", "json", key="plan_upload", max_upload_size=1,
                     on_change=_uploaded, help="Sets all choices of the side bar and of fine-tuning at once.")  # fmt: skip
    kind, sentence = state.recall("plan_import", ("", ""))
    if kind:
        (st.success if kind == "done" else st.error)(sentence, icon=":material/check:" if kind == "done" else ":material/error:")


def _uploaded() -> None:
    """The uploaded plan takes the place of the present one; a file that is none changes nothing."""
    upload = state.widget("plan_upload", None)
    if upload is None:
        return state.keep("plan_import", ("", ""))
    try:
        plan = read_plan(upload.getvalue())
    except PruningError as problem:
        return state.keep("plan_import", ("failed", f"{problem} Nothing was changed."))
    state.set_plan(plan)
    return state.keep("plan_import", ("done", f"The plan of {upload.name} is set: {cut_words(plan)}"))


def read_plan(content: bytes) -> Plan:
    """The plan of a file. Raises PruningError, in one sentence, for one that this machine cannot open."""
    try:
        plan = Plan.from_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PruningError("The file is not text, so it is no plan.") from error
    find(MODELS, plan.model, "network")
    find(DATASETS, plan.dataset, "data set")
    if plan.dataset not in datasets_for(plan.model):
        raise PruningError(f"There is no {plan.model} trained on {plan.dataset} on this machine.")
    return plan

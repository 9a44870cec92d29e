"""The lines of an exported script for norms that average over kept channels only."""

from pruning_core.export.plain_source import plain_source
from pruning_core.model.kept_averages import KeptAverages, written_rms_norm
from pruning_core.model.kept_norms import KEPT, written_norms
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

_FUNCTIONS = """
{}


"""
_SPARE = """\
with torch.no_grad():
    for scale in model.parameters():  # a zero of the network's own is not a removed channel
        if scale.ndim == 1:
            scale[scale == 0] = torch.finfo(scale.dtype).tiny
"""
_WRITTEN = """\
for path, eps in {written}.items():  # these modules compute their norm by themselves
    norm = model.get_submodule(path)
    norm.forward = written_rms_norm(norm.forward, norm, eps)
"""


def norm_lines(plan: Plan, space: Workspace) -> dict[str, str]:
    """norms: lines after the imports; spare: lines before the masks; averages: a mode in `with`.

    All are empty for norms over all channels.
    """
    if plan.norms != KEPT:
        return {"norms": "", "spare": "", "averages": ""}
    written = written_norms(space.with_norms(plan.norms).model)
    spare = _SPARE + (_WRITTEN.format(written=written) if written else "")
    functions = plain_source(KeptAverages, written_rms_norm)
    return {"norms": _FUNCTIONS.format(functions), "spare": spare, "averages": "KeptAverages(), "}

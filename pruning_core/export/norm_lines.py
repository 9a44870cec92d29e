"""The lines of an exported script for norms that average over kept channels only."""

from pruning_core.model.kept_norms import KEPT, SCRIPT
from pruning_core.plan import Plan

_FUNCTIONS = f"""
{SCRIPT}


"""
_SPARE = """\
with torch.no_grad():
    for scale in model.parameters():  # a zero of the network's own is not a removed channel
        if scale.ndim == 1:
            scale[scale == 0] = torch.finfo(scale.dtype).tiny
"""


def norm_lines(plan: Plan) -> dict[str, str]:
    """norms: lines after the imports; spare: lines before the masks; averages: a mode in `with`.

    All are empty for norms over all channels.
    """
    if plan.norms != KEPT:
        return {"norms": "", "spare": "", "averages": ""}
    return {"norms": _FUNCTIONS, "spare": _SPARE, "averages": "KeptAverages(), "}

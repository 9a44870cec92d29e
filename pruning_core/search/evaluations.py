"""The name under which the evaluations of a plan's ratios are kept."""

import hashlib
import json
from dataclasses import asdict

from pruning_core.plan import Plan
from pruning_core.studies.store import fingerprint
from pruning_core.workspaces import Workspace

METHOD_VERSION = 1
"""Version of how ratios are measured. Raise it when equal ratios give other numbers than before."""
SETS_NOTHING = ("allocation", "sparsity", "schedule", "flow", "overrides", "fine_tune")
"""Fields of a plan that what is measured of given ratios does not depend on."""


def evaluations_name(plan: Plan, space: Workspace) -> str:
    """Equal for plans whose ratios give equal values, whatever the budget and the method."""
    fields = {name: value for name, value in asdict(plan).items() if name not in SETS_NOTHING}
    start = f"{METHOD_VERSION} {fingerprint(space)} {json.dumps(fields, sort_keys=True)}"
    return f"evaluations-{hashlib.sha256(start.encode()).hexdigest()[:16]}"

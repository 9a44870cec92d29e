"""The name under which the evaluations of a plan's ratios are kept."""

import hashlib
import json
from dataclasses import asdict

import torch

from pruning_core.compress.machine import machine
from pruning_core.plan import Plan
from pruning_core.studies.store import fingerprint
from pruning_core.workspaces import Workspace

METHOD_VERSION = 1
"""Version of how ratios are measured. Raise it when equal ratios give other numbers than before."""
SETS_NOTHING = ("allocation", "sparsity", "schedule", "flow", "overrides", "fine_tune")
"""Fields of a plan that what is measured of given ratios does not depend on."""


def evaluations_name(plan: Plan, space: Workspace) -> str:
    """Equal for plans whose ratios give equal values, whatever the budget and the method."""
    return f"evaluations-{_hash(plan, space, '')}"


def times_name(plan: Plan, space: Workspace) -> str:
    """The name under which times are kept: of this machine, with the present kernel threads."""
    own = machine(torch.device("cpu"))
    place = f"{own.processor} {own.capability} {own.cores} {own.threads} {own.versions}"
    return f"times-{_hash(plan, space, place)}"


def _hash(plan: Plan, space: Workspace, more: str) -> str:
    fields = {name: value for name, value in asdict(plan).items() if name not in SETS_NOTHING}
    start = f"{METHOD_VERSION} {fingerprint(space)} {json.dumps(fields, sort_keys=True)}{more}"
    return hashlib.sha256(start.encode()).hexdigest()[:16]

"""The report of a run."""

import json

import torch

from pruning_core.compress.storage_sizes import StoredSize
from pruning_core.export import report_dict
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace


def test_the_report_has_number_of_images_and_interval_of_every_state(
    plan: Plan, space: Workspace
) -> None:
    *_, run = prune(plan, space)
    assert isinstance(run, Finished)
    report = json.loads(json.dumps(report_dict(plan, run)))
    assert report["threads"] == torch.get_num_threads()
    # LeNet-5 has no batch norm to recalibrate.
    assert set(report["measured"]) == {"dense", "pruned", "tuned"}
    for accuracy in report["measured"].values():
        low, high = accuracy["interval_95"]
        assert accuracy["n"] == len(space.dataset.test)
        assert low <= accuracy["top1"] <= high
    assert report["computed"]["nonzeros"] < report["computed"]["parameters"]
    assert "stored_bytes" not in report["computed"]
    stored = (StoredSize("dense", "Dense", 90, False), StoredSize("csr", "CSR", 40, False))
    computed = report_dict(plan, run, stored)["computed"]
    assert computed == report["computed"] | {"stored_bytes": {"dense": 90, "csr": 40}}

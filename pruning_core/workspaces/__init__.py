"""Trained networks with their data: what every plan starts from."""

from pruning_core.workspaces.by_name import open_in_worker, open_workspace
from pruning_core.workspaces.catalogue import Listed, datasets_of, known_datasets, known_models
from pruning_core.workspaces.space import CALIBRATION_BATCH, Workspace, batch_of, calibration

__all__ = [
    "CALIBRATION_BATCH",
    "Listed",
    "Workspace",
    "batch_of",
    "calibration",
    "datasets_of",
    "known_datasets",
    "known_models",
    "open_in_worker",
    "open_workspace",
]

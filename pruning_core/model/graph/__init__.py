"""A model's forward pass as nodes that run one by one, on a private skeleton of modules that shares
the model's tensors.
"""

from pruning_core.model.graph.program import Program, Stage, Values, empty_as, fitting
from pruning_core.model.graph.tracing import FAILS, program, skeleton, trace

__all__ = [
    "FAILS",
    "Program",
    "Stage",
    "Values",
    "empty_as",
    "fitting",
    "program",
    "skeleton",
    "trace",
]

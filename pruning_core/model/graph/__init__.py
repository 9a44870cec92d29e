"""A model's forward pass as nodes that run one by one, on modules sharing the model's tensors."""

from pruning_core.model.graph.absent import ValuesMissing
from pruning_core.model.graph.calls import first_calls
from pruning_core.model.graph.program import Program, Stage, Values, empty_as, fitting
from pruning_core.model.graph.tracing import TRACE_ERRORS, program, skeleton, trace

__all__ = [
    "TRACE_ERRORS",
    "Program",
    "Stage",
    "Values",
    "ValuesMissing",
    "empty_as",
    "first_calls",
    "fitting",
    "program",
    "skeleton",
    "trace",
]

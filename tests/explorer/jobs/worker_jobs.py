"""Jobs for the tests of worker processes, which import them from here."""

import os
import sys
import threading
from collections.abc import Iterator

import torch

from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace


def about_the_process(space: Workspace, functions: tuple[object, ...]) -> Iterator[object]:
    """Its id, its priority, its threads, and what it has imported of what takes seconds."""
    slow = {"streamlit", "torch._dynamo", "torchvision"} & sys.modules.keys()
    yield os.getpid(), os.nice(0), torch.get_num_threads(), slow


def layers(space: Workspace) -> Iterator[object]:
    yield len(space.layers)


def refuses(space: Workspace) -> Iterator[object]:
    yield 1
    raise PruningError("The layer 'fc' has no kernels.")


def breaks(space: Workspace) -> Iterator[object]:
    yield 1
    raise ZeroDivisionError("secret detail")


def leaves_a_file(space: Workspace, path: str) -> Iterator[object]:
    """Without end; at its stop it makes the file."""
    try:
        while True:
            yield 1
    finally:
        with open(path, "w", encoding="utf-8"):
            pass


def never_ends_a_step(space: Workspace) -> Iterator[object]:
    yield 1
    threading.Event().wait()

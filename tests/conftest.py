"""Shapes are checked at run time over the whole suite: jaxtyping and beartype wrap every module of
the core.
"""

import os

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("pruning_core", "beartype.beartype")

torch.set_num_threads(1)  # the suite runs in two processes
os.environ["PRUNING_EXPLORER_THREADS"] = "1"  # for jobs, commands and servers, whatever the machine


def pytest_configure(config: pytest.Config) -> None:
    """Files keep their order, in which the long browser tests begin early: pytest-xdist would sort
    them by number of tests.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False

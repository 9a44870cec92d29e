"""Shapes are checked at run time over the whole suite: jaxtyping and beartype wrap every module of
the core.
"""

import os

import pytest
import sklearn.datasets
import torch
import torchvision

from tests.typechecks import install

# While the hook runs a module, Python finds no bytecode of what that module imports, and compiles
# its source. The large libraries are therefore imported before: 5 seconds less for every process.
LARGE_LIBRARIES = (sklearn.datasets, torch, torchvision)

install()

torch.set_num_threads(1)  # the suite runs in two processes
os.environ["PRUNING_EXPLORER_THREADS"] = "1"  # for jobs, commands and servers, whatever the machine


def pytest_configure(config: pytest.Config) -> None:
    """Files keep their order, in which the long browser tests begin early: pytest-xdist would sort
    them by number of tests.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False

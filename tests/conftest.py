"""Shapes are checked at run time over the whole suite: jaxtyping and beartype wrap every module of the core."""

import torch
from jaxtyping import install_import_hook

install_import_hook("pruning_core", "beartype.beartype")

torch.set_num_threads(1)  # the suite runs in two processes

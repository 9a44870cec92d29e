"""A subject of the tests: a tiny language model with texts, for the pages."""

from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.core.tasks.task_spaces import space_of


def build() -> nn.Module:
    """The network of `task_spaces`."""
    return space_of("language_model").model


def loaders() -> dict[str, TensorDataset]:
    """48 texts."""
    data = space_of("language_model").dataset
    x, y = next(data.val.batches(100))
    assert isinstance(x, Tensor)
    return {part: TensorDataset(x, y) for part in ("train", "val", "test")}

"""A task of a user: the share of samples whose numbers are all near their targets."""

from torch import Tensor


def within_one(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where every number is less than 1 from its target."""
    return ((outputs - targets).abs().amax(1) < 1).float()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of each sample."""
    return (outputs - targets).abs().mean(1)


vars(within_one).update(loss=loss, percent=True, low=0.0, high=1.0)


def no_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """A value without a loss."""
    return outputs[:, 0]


def one_number(outputs: Tensor, targets: Tensor) -> Tensor:
    """One number for the whole batch, which is refused."""
    return outputs.mean()


vars(one_number).update(loss=one_number)

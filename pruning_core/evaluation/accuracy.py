"""Accuracy, loss and confusion of a model on a split."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.evaluation.intervals import wilson_interval
from pruning_core.model.device import choose_device, on_device
from pruning_core.model.model_io import logits as model_logits
from pruning_core.model.model_io import to_device
from pruning_core.types import Evaluation, Inputs, PruningError, Split

NOT_FINITE = (
    "The model's output is NaN or infinite on some image: its weights are broken, "
    "or the learning rate was too high."
)


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    outputs: Sequence[int] | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Accuracy, loss and confusion of the model on all images of a split.

    The model is not changed. outputs: the logits that stand for the classes (None = all logits).
    Raises PruningError for an empty split, for a label that the model has no class for, and for
    logits that are not finite.

    >>> from pruning_core import open_workspace
    >>> space = open_workspace("lenet5", "digits")
    >>> measured = evaluate(space.model, space.dataset.test)
    >>> measured.n, measured.top1 > 0.9
    (359, True)
    """
    if not len(split):
        raise PruningError("There are no images to evaluate on.")
    where = choose_device(device)
    chosen = None if outputs is None else torch.tensor(outputs)
    placed = on_device(model, where)
    logits = []
    labels = []
    with torch.inference_mode():
        for x, y in split.batches(batch_size):
            logits.append(class_logits(placed, to_device(x, where), chosen).float().cpu())
            labels.append(y)
    return summarise(torch.cat(logits), torch.cat(labels))


def class_logits(model: nn.Module, x: Inputs, outputs: Tensor | None) -> Float[Tensor, "b c"]:
    """The model's logits for a batch: the columns in `outputs`, or all of them for None."""
    logits = model_logits(model, x)
    return logits if outputs is None else logits[:, outputs.to(logits.device)]


def check_labels(labels: Tensor, classes: int) -> None:
    """Raises PruningError for a label that is not below the number of classes."""
    if len(labels) and int(labels.max()) >= classes:
        raise PruningError(
            f"The model answers {classes} classes, but the data has label {int(labels.max())}."
        )


def summarise(logits: Float[Tensor, "n c"], labels: Tensor) -> Evaluation:
    """The Evaluation of logits (image x class) against the true labels.

    Raises PruningError for logits that are not finite and for labels beyond the classes.
    """
    if not bool(logits.isfinite().all()):
        raise PruningError(NOT_FINITE)
    n, classes = logits.shape
    check_labels(labels, classes)
    # The caller may hold tensors of torch's inference mode, which later operations would refuse.
    logits = logits.clone()
    labels = labels.clone()
    predictions = logits.argmax(1)
    confusion = _confusion(labels, predictions, classes)
    right = int(confusion.diagonal().sum())
    return Evaluation(
        n=n,
        top1=right / n,
        top5=_top5(logits, labels) if classes > 5 else None,
        loss=float(functional.cross_entropy(logits.double(), labels)),
        interval=wilson_interval(right, n),
        per_class=_recall(confusion),
        confusion=confusion,
        predictions=predictions,
    )


def _confusion(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """Number of images by true class (row) and predicted class (column)."""
    cells = torch.bincount(labels * classes + predictions, minlength=classes * classes)
    return cells.view(classes, classes)


def _recall(confusion: Tensor) -> tuple[float | None, ...]:
    """Fraction of each true class that is predicted right; None for a class without images."""
    right = confusion.diagonal().tolist()
    totals = confusion.sum(1).tolist()
    return tuple(r / total if total else None for r, total in zip(right, totals, strict=True))


def _top5(logits: Tensor, labels: Tensor) -> float:
    """Fraction of the images whose true class has one of the five largest logits."""
    return float((logits.topk(5).indices == labels[:, None]).any(1).double().mean())

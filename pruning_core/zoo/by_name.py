"""Networks and data by name: the zoo's, pretrained ones, and uploads such as resnet18@3fa2c1."""

from pathlib import Path

from torch import nn

from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.checkpoints import datasets_for as datasets_of_checkpoints
from pruning_core.zoo.checkpoints import load_model as load_checkpoint
from pruning_core.zoo.data import load_data as load_data_set
from pruning_core.zoo.fetch import Progress
from pruning_core.zoo.request import Request, data_root
from pruning_core.zoo.uploads import NetworkCard, find_upload, is_upload_name
from pruning_core.zoo.uploads.receive import network_data, network_model


def datasets_for(model: str) -> tuple[str, ...]:
    """Names of the data sets that a model has weights for.

    Raises PruningError for an unknown model.
    """
    if is_upload_name(model):
        return (find_upload(model, NetworkCard)[1].dataset,)
    return datasets_of_checkpoints(model)


def load_data(
    name: str,
    model: str | None = None,
    root: str | Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """The data set of this name.

    model: its input transform and classes are used for photographs; root: folder of data sets, as
    in `data_root`; download: download files that are not there; progress: called while a file is
    downloaded. Raises PruningError for an unknown name or damaged files, DataMissing for files
    that are not there and are not or cannot be downloaded.
    """
    if model is not None and is_upload_name(model):
        _check_pair(model, name)
        return network_data(model)
    if is_upload_name(name):
        raise PruningError(
            f"The images {name} were uploaded for a network: give its name, which states their "
            "input transform."
        )
    return load_data_set(name, Request(data_root(root), model, download, progress))


def load_model(model: str, dataset: str, data: Dataset | None = None) -> nn.Module:
    """A new copy of the trained network, in eval mode on the CPU.

    data: if given, its image shape and classes are compared with the network's. Raises PruningError
    for an unknown model or data set, for data that does not fit, without a checkpoint, and for a
    file that is damaged or has numbers that are not finite. Raises DataMissing for pretrained
    weights that are not on this machine and cannot be downloaded.
    """
    if is_upload_name(model):
        _check_pair(model, dataset)
        return network_model(model)
    return load_checkpoint(model, dataset, data)


def _check_pair(model: str, dataset: str) -> None:
    """Raises PruningError where an uploaded network has other images."""
    if dataset != (own := datasets_for(model)[0]):
        raise PruningError(f"{model} was uploaded with the images {own}, not {dataset[:80]!r}.")

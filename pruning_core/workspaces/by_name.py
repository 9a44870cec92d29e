"""Opens a network with its data by their names."""

from pruning_core.model.inventory import inventory, unprunable_parameters
from pruning_core.workspaces.space import Workspace
from pruning_core.zoo import Progress, datasets_for, load_data, load_model


def open_workspace(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
    """Loads a network and its data by their names and lists the layers.

    progress: called while data is downloaded.
    Raises PruningError for unknown names and DataMissing for files that are not here.

    >>> space = open_workspace("lenet5", "digits")
    >>> [layer.name for layer in space.layers][:2]
    ['conv1.weight', 'conv2.weight']
    """
    if dataset not in datasets_for(model):
        load_model(model, dataset)  # raises before any data is downloaded
    data = load_data(dataset, model=model, progress=progress)
    network = load_model(model, dataset, data=data)
    layers = inventory(network, data.shape)
    return Workspace(network, data, layers, unprunable_parameters(network, layers))

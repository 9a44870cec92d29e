"""Opens a network with its data by their names: of the zoo, a subject, or an upload."""

from pruning_core.model.inventory import inventory, unprunable_parameters
from pruning_core.model.model_io import first_sample
from pruning_core.registry import find
from pruning_core.subjects.networks import trial
from pruning_core.subjects.registry import VARIABLE, subjects
from pruning_core.subjects.subject import Subject
from pruning_core.types import PruningError
from pruning_core.workspaces.catalogue import known_models
from pruning_core.workspaces.space import Workspace
from pruning_core.zoo import MODELS, Progress, datasets_for, load_data, load_model
from pruning_core.zoo.uploads import NetworkCard, find_upload, is_upload_name, network_masks


def open_workspace(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
    """Loads a network and its data by their names and lists the layers.

    model: a network of the zoo, a subject in the files of PRUNING_EXPLORER_SUBJECTS, or an upload
    such as resnet18@3fa2c1; progress: called while data is downloaded.
    Raises PruningError for unknown names and DataMissing for files that are not here.

    >>> space = open_workspace("lenet5", "digits")
    >>> [layer.name for layer in space.layers][:2]
    ['conv1.weight', 'conv2.weight']
    """
    if is_upload_name(model):
        return _open_upload(model, dataset)
    if model not in MODELS:
        return _open_subject(model, dataset, subjects())
    if dataset not in datasets_for(model):
        load_model(model, dataset)  # raises before any data is downloaded
    data = load_data(dataset, model=model, progress=progress)
    network = load_model(model, dataset, data=data)
    layers = inventory(network, data.shape)
    return Workspace(network, data, layers, unprunable_parameters(network, layers))


def open_in_worker(model: str, dataset: str) -> Workspace:
    """`open_workspace` in a process that another one has started, maybe on another machine.

    Raises PruningError where this machine does not know the name.
    """
    if not is_upload_name(model) and model not in known_models():
        raise PruningError(
            f"This worker has no network '{model}': start it with the environment "
            f"variable {VARIABLE}, which names the file of the network."
        )
    return open_workspace(model, dataset)


def _open_upload(model: str, dataset: str) -> Workspace:
    data = load_data(dataset, model=model)
    network = load_model(model, dataset)
    trial(network, first_sample(data.shape))
    layers = inventory(network, data.shape)
    masks = network_masks(model)
    return Workspace(
        network,
        data,
        layers,
        unprunable_parameters(network, layers),
        read=find_upload(model, NetworkCard)[1].notes,
        start_masks={x.name: masks[x.name] for x in layers if x.name in masks} or None,
    )


def _open_subject(model: str, dataset: str, own: dict[str, Subject]) -> Workspace:
    try:
        find(dict.fromkeys((*own, *MODELS)), model, "model")
    except PruningError as error:
        raise PruningError(f"{error} A network of your own needs --subject FILE.") from error
    subject = own[model]
    if dataset != subject.dataset:
        raise PruningError(
            f"{model} has data of its own, called '{subject.dataset}' in a plan, not '{dataset}'."
        )
    return subject.open()

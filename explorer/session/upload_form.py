"""The fields of the dialog "Open your own network", and what they state together."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from explorer.session import state
from explorer.session.demo import uploader
from explorer.session.notices import plain
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from pruning_core.types import PruningError
from pruning_core.workspaces import known_datasets
from pruning_core.zoo import ARCHITECTURES
from pruning_core.zoo.uploads import (
    ImagesCard,
    InputTransform,
    architectures,
    torchvision_transform,
    uploads,
)

CHECKPOINTS = ["safetensors", "pt", "pth", "bin", "ckpt", "th"]
MASKS = ["npz", "safetensors", "pt", "pth"]
PRESET = N_("As torchvision's own weights")
OWN_NUMBERS = N_("Other numbers")
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    N_("ImageNet's mean and deviation"): ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    N_("Mean 0.5, deviation 0.5: pixels in [-1, 1]"): ((0.5,), (0.5,)),
    N_("None: pixels in [0, 1]"): ((0.0,), (1.0,)),
}
"""Label -> mean and standard deviation, one number for all channels or one for each."""
ZIP = N_("Upload a zip")
HERE = N_("On this machine")


@dataclass(frozen=True, eq=False)
class Fields:
    """What the dialog's fields hold now, None for what is not given yet.

    names: class of each output, () where none are given.
    """

    architecture: str | None
    checkpoint: UploadedFile | None
    transform: InputTransform | None
    archive: UploadedFile | None
    dataset: str | None
    names: tuple[str, ...]
    masks: UploadedFile | None

    @property
    def missing(self) -> list[str]:
        """What is still to be given, in English."""
        parts = {
            N_("the architecture"): self.architecture,
            N_("the checkpoint"): self.checkpoint,
            N_("the input"): self.transform,
            N_("the images"): self.archive or self.dataset,
        }
        return [name for name, value in parts.items() if not value]


def fields() -> Fields:
    """Draws the fields."""
    st.markdown(_("**1. Network**"))
    architecture = _architecture()
    checkpoint = _uploader("checkpoint", _("Checkpoint"), CHECKPOINTS)
    st.markdown(_("**2. Input**"))
    transform = _transform(architecture)
    st.markdown(_("**3. Images**"))
    archive, dataset = _images()
    with st.expander(_("Class names and masks (where needed)")):
        names = st.text_area(
            _("Class of each output, in order, one per line"),
            key="own_names",
            height=100,
            help=HELP["own_names"],
        )
        masks = _uploader("masks", _("Masks to start from"), MASKS)
    listed = tuple(line.strip() for line in names.splitlines() if line.strip())
    return Fields(architecture, checkpoint, transform, archive, dataset, listed, masks)


def _architecture() -> str | None:
    labels = architectures()
    chosen: str | None = st.selectbox(
        _("Architecture"),
        tuple(labels),
        index=None,
        format_func=lambda name: from_core(str(labels.get(name, name))),
        placeholder=_("Choose the architecture of the checkpoint"),
        key="own_architecture",
        help=HELP["own_architecture"],
    )
    return chosen


def _uploader(field: str, label: str, kinds: list[str]) -> UploadedFile | None:
    return uploader(label, kinds, f"own_{field}", help=HELP[f"own_{field}"])


def _transform(architecture: str | None) -> InputTransform | None:
    """The stated input transform. None, with a sentence, where it is not possible."""
    torchvision = architecture is not None and architecture not in ARCHITECTURES
    chosen: str | None = st.selectbox(
        _("Normalisation"),
        (*((PRESET,) if torchvision else ()), *NORMALISATIONS, OWN_NUMBERS),
        index=None,
        format_func=_,
        placeholder=_("Choose what the network was trained with"),
        key="own_normalisation",
        help=HELP["own_normalisation"],
    )
    if chosen is None:
        return None
    if chosen == PRESET and architecture is not None:
        return _possible(lambda: torchvision_transform(architecture))
    left, middle, right = st.columns(3)
    channels = left.selectbox(
        _("Channels"),
        (3, 1),
        index=None,
        format_func=lambda count: _("3, colour") if count == 3 else _("1, grey"),
        placeholder=_("Choose"),
        key="own_channels",
        help=HELP["own_channels"],
    )
    side = _pixels(middle, "size", _("Input size"))
    resize = _pixels(right, "resize", _("Shorter side before the crop"))
    mean, std = _numbers() if chosen == OWN_NUMBERS else NORMALISATIONS[chosen]
    if channels is None or side is None or not mean or not std:
        return None
    means = mean * channels if len(mean) == 1 else mean
    stds = std * channels if len(std) == 1 else std
    return _possible(lambda: InputTransform(channels, side, side, resize or side, means, stds))


def _pixels(place: st.delta_generator.DeltaGenerator, field: str, label: str) -> int | None:
    value: int | None = place.number_input(
        label,
        1,
        2048,
        value=None,
        step=1,
        placeholder=_("pixels") if field == "size" else _("as input size"),
        key=f"own_{field}",
        help=HELP[f"own_{field}"],
    )
    return value


def _numbers() -> tuple[tuple[float, ...], tuple[float, ...]]:
    left, right = st.columns(2)
    mean = left.text_input(_("Mean per channel"), key="own_mean", help=HELP["own_mean"])
    std = right.text_input(_("Deviation per channel"), key="own_std", help=HELP["own_std"])
    return _read_numbers(mean), _read_numbers(std)


def _read_numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas or spaces; () for another text, which is shown as an error."""
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        st.error(_("Write numbers such as 0.485, 0.456, 0.406."), icon=":material/error:")
        return ()


def _possible(make: Callable[[], InputTransform]) -> InputTransform | None:
    try:
        return make()
    except PruningError as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        return None


def _images() -> tuple[UploadedFile | None, str | None]:
    """A zip, or the name of a data set."""
    source = st.radio(
        _("Images"),
        (ZIP, HERE),
        format_func=_,
        horizontal=True,
        key="own_images",
        label_visibility="collapsed",
    )
    if source == ZIP:
        return _uploader("zip", _("Images in a zip file"), ["zip"]), None
    mine = [each.name for each in uploads(state.owner()) if isinstance(each.card, ImagesCard)]
    data = known_datasets(*mine)
    chosen: str | None = st.selectbox(
        _("Data set"),
        tuple(data),
        index=None,
        format_func=lambda name: from_core(data[name].label) if name in data else name,
        placeholder=_("Choose images of this machine, or your earlier upload"),
        key="own_dataset",
        help=HELP["own_dataset"],
    )
    return None, chosen

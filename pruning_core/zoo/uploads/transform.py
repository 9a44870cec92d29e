"""The input transform of an uploaded network, as its owner states it."""

import math
from dataclasses import dataclass, replace

from pruning_core.types import Dataset, PruningError, Split
from pruning_core.zoo.pretrained import Preparation, centre_crop
from pruning_core.zoo.splits import FolderSplit, TensorSplit

MAX_SIDE = 1024


@dataclass(frozen=True)
class InputTransform:
    """Resize, centre crop, and normalisation per channel.

    channels: 1 (grey) or 3; height, width: of the crop; resize: length of the shorter side before
    it; mean, std: of pixels in [0, 1]; interpolation: bilinear or bicubic, with antialiasing.
    """

    channels: int
    height: int
    width: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise PruningError(f"An input has 1 or 3 channels, not {self.channels}.")
        if not 1 <= min(self.height, self.width) <= max(self.height, self.width) <= MAX_SIDE:
            raise PruningError(
                f"An input of {self.height} x {self.width} pixels is outside 1 to {MAX_SIDE}."
            )
        if not max(self.height, self.width) <= self.resize <= 2 * MAX_SIDE:
            raise PruningError(
                f"The shorter side of {self.resize} pixels must be at least as long as the "
                f"input and at most {2 * MAX_SIDE}."
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise PruningError(
                f"Give {self.channels} numbers for the mean and for the standard deviation, "
                f"one per channel; there are {len(self.mean)} and {len(self.std)}."
            )
        if not all(map(math.isfinite, self.mean)):
            raise PruningError("A mean is not a finite number.")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise PruningError("A standard deviation must be a number above 0.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise PruningError(f"There is no interpolation '{self.interpolation[:40]}'.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an input: C x H x W."""
        return self.channels, self.height, self.width

    def preparation(self) -> Preparation:
        """The transform as a function of an image."""
        return centre_crop(
            self.resize, self.height, self.width, self.mean, self.std, self.interpolation
        )

    def on(self, data: Dataset) -> Dataset:
        """The data set with this transform in place of its own.

        Raises PruningError for images in memory of another shape: they are not resized.
        """
        splits = [self._on_split(split, data) for split in (data.train, data.val, data.test)]
        return replace(
            data, shape=self.shape, train=splits[0], val=splits[1], test=splits[2], outputs=None
        )

    def _on_split(self, split: Split, data: Dataset) -> Split:
        if isinstance(split, FolderSplit):
            prepared = self.preparation()
            mode = "L" if self.channels == 1 else "RGB"
            return replace(
                split, transform=prepared.transform, mean=self.mean, std=self.std, mode=mode
            )
        if not isinstance(split, TensorSplit) or data.shape != self.shape:
            raise PruningError(
                f"{data.name} has images of {' x '.join(map(str, data.shape))}, and this network "
                f"reads {' x '.join(map(str, self.shape))}: give the input size of its images."
            )
        return replace(split, mean=self.mean, std=self.std)


def torchvision_transform(architecture: str) -> InputTransform:
    """The transform of torchvision's default weights of that architecture.

    Raises PruningError for an architecture without such weights.
    """
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(architecture).DEFAULT
    except ValueError as error:
        raise PruningError(f"torchvision has no weights of '{architecture[:80]}'.") from error
    preset = weights.transforms()
    side = preset.crop_size[0]
    return InputTransform(
        3,
        side,
        side,
        max(preset.resize_size[0], side),
        tuple(preset.mean),
        tuple(preset.std),
        preset.interpolation.value,
    )

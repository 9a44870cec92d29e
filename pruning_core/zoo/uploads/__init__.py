"""Networks, images and masks that were uploaded with a browser."""

from pruning_core.zoo.uploads.architectures import architectures
from pruning_core.zoo.uploads.checkpoints import Difference, Fit
from pruning_core.zoo.uploads.receive import (
    Statement,
    images_folder,
    inspect,
    network_masks,
    store_images,
    store_network,
)
from pruning_core.zoo.uploads.store import (
    ImagesCard,
    NetworkCard,
    Stored,
    find_upload,
    has_upload,
    is_upload_name,
    uploads,
)
from pruning_core.zoo.uploads.transform import InputTransform, torchvision_transform

__all__ = [
    "Difference",
    "Fit",
    "ImagesCard",
    "InputTransform",
    "NetworkCard",
    "Statement",
    "Stored",
    "architectures",
    "find_upload",
    "has_upload",
    "images_folder",
    "inspect",
    "is_upload_name",
    "network_masks",
    "store_images",
    "store_network",
    "torchvision_transform",
    "uploads",
]

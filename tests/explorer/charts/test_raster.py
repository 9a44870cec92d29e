"""Pictures of images: enlarged with sharp pixels."""

import pytest
import torch

from explorer.charts.raster import ENLARGED_SIDE, enlarged


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (1, 28), (3, 224)])
def test_pictures_are_enlarged_by_whole_factors(channels: int, side: int) -> None:
    image = enlarged(torch.rand(channels, side, side).numpy())
    assert image.width >= ENLARGED_SIDE
    assert image.width % side == 0
    assert image.mode == ("L" if channels == 1 else "RGB")

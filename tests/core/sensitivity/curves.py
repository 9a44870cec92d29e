"""Made sensitivity curves of four layers, for the tests of rules and ratios."""

from collections.abc import Sequence

from pruning_core.types import SensitivityPoint
from tests.core.toy import layer

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
LAYERS = (
    layer((8, 3, 3, 3), name="stem.weight", is_first=True, macs=200_000),
    layer((16, 8, 3, 3), name="conv.weight", macs=300_000),
    layer((32, 16, 3, 3), name="point.weight", macs=100_000),
    layer((10, 32, 1, 1), name="fc.weight", is_output=True, macs=320),
)
POWERS = dict(zip((x.name for x in LAYERS), (1.0, 2.0, 4.0, 8.0), strict=True))
GROUPS = {x.name: x.shape[0] for x in LAYERS}


def point(
    name: str, s: float, loss: float, top1: float, achieved: float | None = None, n: int = 1000
) -> SensitivityPoint:
    removed = s if achieved is None else achieved
    return SensitivityPoint(name, "fine", s, removed, loss, top1, n, (0.0, 1.0))


def curves(powers: dict[str, float], grid: Sequence[float] = GRID) -> list[SensitivityPoint]:
    """loss = 0.1 + 2 s^power, top1 = 0.9 (1 - s^power): the larger the power, the more robust."""
    return [
        point(name, s, 0.1 + 2 * s**p, 0.9 * (1 - s**p)) for name, p in powers.items() for s in grid
    ]

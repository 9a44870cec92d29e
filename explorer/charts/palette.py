"""The colours of all pages. A colour has the same meaning everywhere, in light and dark mode.

Line and bar colours have a contrast of at least 3:1 with both backgrounds. People with colour
blindness can distinguish them: blue, orange, teal, violet, never red against green. A pattern, a
mark or a label always has the same meaning as the colour.
"""

from math import gcd

import numpy as np

LIGHT_PAGE = "#FFFFFF"
DARK_PAGE = "#12161C"

KEPT = "#2F7FC9"
PRUNED = "#7F8793"
THRESHOLD = "#DB4A80"
CHOSEN = "#DB4A80"
BASELINE = "#7F8793"

DENSE = "#1F9490"
PRUNED_MODEL = "#CC7A1F"
RECALIBRATED = "#A9713F"
TUNED = "#9467C6"

GAIN = "#1F9490"
LOSS = "#CC7A1F"

KEPT_CELL = "#2D7CC5"
PRUNED_CELL = "#7F8793"
PRUNED_CELL_ALPHA = 51
"""Removed cells are translucent: near the page's colour in light mode and in dark mode."""
PRUNED_MARK = "#717985"

GRID = "rgba(127, 135, 147, 0.22)"
AXIS = "rgba(127, 135, 147, 0.6)"

PRUNED_PATTERN = "/"

STATES = {
    "dense": (DENSE, ""),
    "pruned": (PRUNED_MODEL, "/"),
    "recalibrated": (RECALIBRATED, "x"),
    "tuned": (TUNED, "."),
}
"""A state of a network -> its colour and bar pattern, in the order of the work."""

LAYERS = ("#2F7FC9", "#CC7A1F", "#1F9490", "#9467C6", "#A9713F", "#DB4A80", "#7F8793", "#8A8A1C")
"""The lines of up to eight layers or methods."""

DIVERGING = (
    "#7F3B08",
    "#B35806",
    "#E08214",
    "#FDB863",
    "#FEE0B6",
    "#F7F7F7",
    "#D8DAEB",
    "#B2ABD2",
    "#8073AC",
    "#542788",
    "#2D004B",
)
"""PuOr (ColorBrewer): negative weights orange, zero near white, positive weights violet."""

MAGNITUDE = (
    "#F7F7F7",
    "#E2E1EF",
    "#C9C5E0",
    "#ADA5CE",
    "#8F84BA",
    "#7161A4",
    "#573C8E",
    "#42167A",
    "#2D004B",
)
"""The violet half of DIVERGING, for magnitudes."""

DEPTH = ("#2F7FC9", "#6E78CC", "#9467C6", "#B0568F", "#C2605A", "#CC7A1F")
"""The colours between these are those of more lines than `LAYERS` has colours."""


def scale(colours: tuple[str, ...]) -> list[list[float | str]]:
    """A Plotly colour scale with evenly spaced stops."""
    last = len(colours) - 1
    return [[index / last, colour] for index, colour in enumerate(colours)]


def rgb(colour: str) -> tuple[int, int, int]:
    """The three bytes of "#RRGGBB"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def translucent(colour: str, alpha: float) -> str:
    """The same colour as CSS rgba."""
    return "rgba({}, {}, {}, {:g})".format(*rgb(colour), alpha)


def over(colour: str, alpha: float, page: str) -> str:
    """The colour "#RRGGBB" that a translucent colour has on a page."""
    mixed = alpha * np.array(rgb(colour)) + (1 - alpha) * np.array(rgb(page))
    return "#{:02X}{:02X}{:02X}".format(*mixed.round().astype(int))


def ramp(colours: tuple[str, ...], steps: int = 256) -> np.ndarray:
    """steps x 3 bytes, linear in sRGB between the stops, as in Plotly's colour scales."""
    stops = np.array([rgb(colour) for colour in colours], float)
    positions = np.linspace(0, 1, len(stops))
    wanted = np.linspace(0, 1, steps)
    channels = [np.interp(wanted, positions, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def of_lines(count: int) -> list[str]:
    """A colour for each line; neighbours differ clearly, however many there are.

    A colour depends on the place of its line and on `count` only.
    """
    if count <= len(LAYERS):
        return list(LAYERS[:count])
    stride = next(each for each in range(count // 3, count) if gcd(each, count) == 1)
    shades = between(DEPTH, count)
    return [shades[place * stride % count] for place in range(count)]


def between(colours: tuple[str, ...], count: int) -> list[str]:
    """`count` colours, evenly spaced from the first stop to the last."""
    return [
        "#{:02X}{:02X}{:02X}".format(*colour) for colour in ramp(colours, max(count, 2))[:count]
    ]


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = np.array(rgb(colour)) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)

"""The colour language, in one place. One meaning, one colour, on every page, in the light and in
the dark look.

Line and bar colours have at least 3:1 contrast with both backgrounds and stay apart for
colour-blind eyes (blue, orange, teal, violet; never red against green); what they say is also said
by a pattern, a mark or a label.
"""

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

KEPT_CELL = "#1F5E9E"
PRUNED_CELL = "#BCC2CB"
PRUNED_MARK = "#4A515C"

GRID = "rgba(127, 135, 147, 0.22)"
AXIS = "rgba(127, 135, 147, 0.6)"

PRUNED_PATTERN = "/"

STATES = {
    "dense": (DENSE, ""),
    "pruned": (PRUNED_MODEL, "/"),
    "recalibrated": (RECALIBRATED, "x"),
    "tuned": (TUNED, "."),
}
"""Colour and bar pattern of a model's states, in the order in which they come about."""

LAYERS = ("#2F7FC9", "#CC7A1F", "#1F9490", "#9467C6", "#A9713F", "#DB4A80", "#7F8793", "#8A8A1C")
"""Lines told apart by name."""

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
"""The violet arm of DIVERGING, for magnitudes."""

DEPTH = ("#2F7FC9", "#6E78CC", "#9467C6", "#B0568F", "#C2605A", "#CC7A1F")
"""First layer to last, where there are too many to tell apart by name."""


def scale(colours: tuple[str, ...]) -> list[list[float | str]]:
    """A Plotly colour scale with evenly spaced stops."""
    return [[n / (len(colours) - 1), colour] for n, colour in enumerate(colours)]


def rgb(colour: str) -> tuple[int, int, int]:
    """The three bytes of "#RRGGBB"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def translucent(colour: str, alpha: float) -> str:
    """The same colour as CSS rgba."""
    return "rgba({}, {}, {}, {:g})".format(*rgb(colour), alpha)


def ramp(colours: tuple[str, ...], steps: int = 256) -> np.ndarray:
    """steps x 3 bytes, linear in sRGB between the stops, as Plotly draws a scale."""
    stops = np.array([rgb(colour) for colour in colours], float)
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(np.linspace(0, 1, steps), at, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def between(colours: tuple[str, ...], count: int) -> list[str]:
    """`count` colours spread evenly over the stops, first to last."""
    return [
        "#{:02X}{:02X}{:02X}".format(*colour) for colour in ramp(colours, max(count, 2))[:count]
    ]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio, 1 to 21."""

    def luminance(colour: str) -> float:
        channels = np.array(rgb(colour)) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)

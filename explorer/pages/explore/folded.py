"""Parts of the page that are drawn only while they are open."""

from streamlit.delta_generator import DeltaGenerator

from explorer.session.foldable import foldable


def folded(label: str, key: str, icon: str) -> DeltaGenerator | None:
    """A part that is closed at first: the place of its content, or None while it is closed.

    Content of a closed part would be drawn again after every release of a slider.
    """
    place = foldable(label, key, icon)
    return place if place.open else None

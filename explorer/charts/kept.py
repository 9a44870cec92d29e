"""Figures that are drawn once: a page draws the same ones again in each of its runs."""

import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from hashlib import blake2b
from io import BytesIO
from typing import Any, ParamSpec

import plotly.graph_objects as go
from torch import Tensor

from explorer.session.kept_results import KeptResults
from explorer.texts.translate import language

Parameters = ParamSpec("Parameters")
MOST = 48
"""Figures that are kept: those that were shown last."""
_figures: KeptResults[go.Figure] = KeptResults(MOST)


def kept(draw: Callable[Parameters, go.Figure]) -> Callable[Parameters, go.Figure]:
    """Keeps the figures of a function by the values of its arguments and the page's language.

    All sessions share a figure: show it, never change it. Plotly takes 10 to 50 ms for one. With
    arguments that cannot be pickled, such as iterators, it is drawn each time. Not for functions of
    whole layers, of thousands of steps or of a search: to compare these can take as long.
    """

    @wraps(draw)
    def look_up(*args: Parameters.args, **kwargs: Parameters.kwargs) -> go.Figure:
        try:
            values = _values((args, kwargs))
        except (pickle.PicklingError, AttributeError, TypeError):
            return draw(*args, **kwargs)
        key = (draw.__qualname__, language(), values)
        return _figures.get(key, lambda: draw(*args, **kwargs))

    return look_up


def _values(arguments: object) -> bytes:
    """A hash of the arguments' values."""
    written = BytesIO()
    _Fields(written, pickle.HIGHEST_PROTOCOL).dump(arguments)
    return blake2b(written.getbuffer()).digest()


class _Fields(pickle.Pickler):
    """Writes numbers of tensors, and of a dataclass's object only the fields.

    It may keep what it has computed from them.
    """

    def reducer_override(self, obj: Any) -> Any:
        kind: Any = type(obj)
        if kind is Tensor:
            return kind, (str(obj.dtype), obj.shape, obj.detach().numpy().tobytes())
        names = _field_names(kind)
        return (kind, tuple(getattr(obj, name) for name in names)) if names else NotImplemented


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()

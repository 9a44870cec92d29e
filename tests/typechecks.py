"""Types of the core are checked at every call of the suite; shapes where a signature names them.

`jaxtyped` binds the arguments and checks them twice, 25 microseconds for each call. A function
whose signature names no array does not need it: beartype alone checks the same types in one
microsecond.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

jaxtyped = jaxtyping.jaxtyped
WRONG_TYPE = BeartypeConf(violation_type=TypeError)
"""As `jaxtyped` and the calls themselves do, so that code that catches TypeError is tested."""


def names_an_array(annotation: object) -> bool:
    """True for an array type with a shape, a type that holds one, and a type given as text."""
    if isinstance(annotation, str):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    parts: Iterable[object] = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(names_an_array(part) for part in parts)


def accessors(made: property) -> tuple[Any, Any, Any]:
    return made.fget, made.fset, made.fdel


def checked(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """What `jaxtyping.jaxtyped` does, without its work on functions that name no array."""
    if function is None:
        return lambda decorated: checked(decorated, typechecker=typechecker)
    if inspect.isclass(function):
        if dataclasses.is_dataclass(function) and "__init__" in vars(function):
            patched: Any = function
            patched.__init__ = checked(patched.__init__, typechecker=typechecker)
        return function
    if isinstance(function, property):
        return property(
            *(part and checked(part, typechecker=typechecker) for part in accessors(function))
        )
    if isinstance(function, classmethod | staticmethod):
        return type(function)(checked(function.__func__, typechecker=typechecker))
    if not inspect.isfunction(function) or any(
        map(names_an_array, function.__annotations__.values())
    ):
        return jaxtyped(function, typechecker=typechecker)
    return beartype(conf=WRONG_TYPE)(function)


def install() -> None:
    """Wraps every function and every dataclass of `pruning_core`, from now on."""
    patched: Any = jaxtyping
    patched.jaxtyped = checked
    jaxtyping.install_import_hook("pruning_core", "beartype.beartype")

"""Types of the core are checked at every call of the suite; shapes where a signature names them.

`jaxtyped` binds the arguments and checks them twice, 25 microseconds for each call. Here beartype
checks arguments and result once, and jaxtyping only remembers the sizes of one call. A function
whose signature names no array needs no memory of sizes.
"""

import dataclasses
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from functools import cache, wraps
from importlib.abc import MetaPathFinder
from types import CellType, CodeType, FunctionType
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping._storage import pop_shape_memo, push_shape_memo

from tests import array_checks

jaxtyped = jaxtyping.jaxtyped
WRONG_TYPE = BeartypeConf(violation_type=TypeError)
"""As `jaxtyped` and the calls themselves do, so that code that catches TypeError is tested."""
WRONG_SHAPE = BeartypeConf(violation_type=jaxtyping.TypeCheckError)


def names_an_array(annotation: object) -> bool:
    """True for an array type with a shape, a type that holds one, and a type given as text."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return isinstance(annotation, str) or any(map(names_an_array, parts(annotation)))


def holds_text(annotation: object) -> bool:
    """True for a type given as text, whose name may exist only while mypy runs, and its holders."""
    return isinstance(annotation, str) or any(map(holds_text, parts(annotation)))


def parts(annotation: object) -> Iterable[object]:
    return annotation if isinstance(annotation, list) else get_args(annotation)


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
    if not inspect.isfunction(function):
        return jaxtyped(function, typechecker=typechecker)
    return checked_from_its_first_call(function)


def checked_from_its_first_call(function: Any) -> Callable[..., Any]:
    """beartype compiles a checker for each function, 1 millisecond: only for those that a process
    calls.
    """
    checker: Callable[..., Any] | None = None

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal checker
        if checker is None:
            checker = checker_of(function)
        return checker(*args, **kwargs)

    return called


COMPILED: dict[tuple[str, str, CodeType], tuple[Any, bool]] = {}
"""Module, name and code of a function -> its checker by beartype, and whether it names an array.

The code alone may be another one's: `__init__` of dataclasses whose fields have the same names.
"""


def checker_of(function: Any) -> Callable[..., Any]:
    place = (function.__module__, function.__qualname__, function.__code__)
    if place not in COMPILED:
        typed = with_types(function)
        sized = any(map(names_an_array, typed.__annotations__.values()))
        compiled = beartype(conf=WRONG_SHAPE if sized else WRONG_TYPE)(typed)
        COMPILED[place] = (compiled, sized)
    compiled, sized = COMPILED[place]
    checker = checker_for(function, compiled)
    return one_size_per_name(checker) if sized else checker


def with_types(function: Any) -> Any:
    """A copy for beartype to read, whose annotations are types where they were text.

    A generator's is an ordinary function: else its arguments were checked at its first step. It is
    never called, so it closes over nothing: it would keep that in memory until the process ends.
    """
    code = function.__code__
    names = function.__globals__
    empty = tuple(CellType() for _ in code.co_freevars)
    # beartype takes a function with an empty closure for one inside another.
    inner = (function.__name__, function.__defaults__, empty or None)
    copy: Any = FunctionType(
        code.replace(co_flags=code.co_flags & ~inspect.CO_GENERATOR), names, *inner
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__annotations__ = {
        name: resolved(annotation, names) if holds_text(annotation) else annotation
        for name, annotation in function.__annotations__.items()
    }
    return copy


def resolved(annotation: object, names: dict[str, Any]) -> object:
    """Any for a name that exists only while mypy runs."""

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["it"]
    except NameError:
        return Any


def checker_for(function: Any, compiled: Any) -> Callable[..., Any]:
    """The checker that was compiled for this function's code, calling this function.

    A function inside another one is made anew by each call of that one.
    """
    if not getattr(compiled, "__beartype_wrapper", False):
        return function  # without annotations
    checker = FunctionType(compiled.__code__, compiled.__globals__, compiled.__name__)
    checker.__kwdefaults__ = compiled.__kwdefaults__ | {"__beartype_func": function}
    return checker


def one_size_per_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """Sizes of one name must agree within each call, in arguments and result."""

    def called(*args: Any, **kwargs: Any) -> Any:
        push_shape_memo({})
        try:
            return function(*args, **kwargs)
        finally:
            pop_shape_memo()

    return called


class PyTorchFirst(MetaPathFinder):
    """Imports PyTorch before the first module of the core.

    While the hook runs a module, Python finds no bytecode of what that module imports, and compiles
    its source: 5 seconds for PyTorch.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pruning_core":
            importlib.import_module("torch")


def install() -> None:
    """Wraps every function and every dataclass of `pruning_core`, from now on.

    A check of a protocol lists its members each time in Python 3.11, 90 microseconds; later ones
    remember them, as here. Whether all objects of a class fit is remembered, too.
    """
    patched: Any = jaxtyping
    patched.jaxtyped = checked
    array_checks.install()
    if sys.version_info < (3, 12):
        protocols: Any = typing
        protocols._get_protocol_attrs = cache(protocols._get_protocol_attrs)
        meta: Any = type(typing.Protocol)
        own_check = meta.__instancecheck__
        meta.__instancecheck__ = lambda protocol, value: (
            all_fit(protocol, value.__class__) or own_check(protocol, value)
        )
    jaxtyping.install_import_hook("pruning_core", "beartype.beartype")
    sys.meta_path.insert(0, PyTorchFirst())


@cache
def all_fit(protocol: Any, kind: Any) -> bool:
    """Do all objects of this class have what a protocol asks for? By their class, or as fields."""
    if not (vars(protocol).get("_is_protocol") and protocol._is_runtime_protocol):
        return False
    of_class: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        of_class |= vars(base)
    fields = getattr(kind, "__dataclass_fields__", {})
    return all(
        of_class.get(name) is not None
        or (name in fields and not callable(getattr(protocol, name, None)))
        for name in typing._get_protocol_attrs(protocol)  # type: ignore[attr-defined]
    )

"""A mode that sees every torch operation of its thread."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class OperationMode(TorchDispatchMode):
    """The base of modes that follow operations. Parts that torch.compile made run uncompiled.

    torch itself makes its compiler skip such a mode, and for that it imports the compiler at the
    first operation: 1.3 s in every process. Here it is asked only where it is imported already,
    because only then can a network have compiled parts.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> "OperationMode":
        loaded = sys.modules.get("torch._dynamo") is not None
        self._uncompiled: AbstractContextManager[None] = (
            torch.compiler.set_stance("force_eager") if loaded else nullcontext()
        )
        self._uncompiled.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._uncompiled.__exit__(*error)

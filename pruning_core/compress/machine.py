"""The machine, as a record of times needs it: processor, threads, load, versions."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from pruning_core.evaluation.thread_pool import cores

PACKAGES = ("torch", "onnxruntime", "onnxscript", "openvino")
"""Packages whose version a record of times holds, where they are installed."""


@dataclass(frozen=True)
class Machine:
    """Where times were measured.

    device: cpu, cuda or mps; processor: of the device, by name; cores: that this process may use;
    threads: of the kernels; load: processes that wanted to compute in the last minute, before the
    measurement, None where the system does not count them; versions: package -> version.
    """

    device: str
    processor: str
    capability: str
    system: str
    cores: int
    threads: int
    load: float | None
    versions: dict[str, str]

    @property
    def overloaded(self) -> bool:
        """Did more processes want to compute than there are cores?"""
        return self.load is not None and self.load > self.cores


def machine(device: torch.device) -> Machine:
    """This machine, now, with the calling thread's number of kernel threads."""
    return Machine(
        device.type,
        torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        torch.backends.cpu.get_cpu_capability(),
        platform.system(),
        cores(),
        torch.get_num_threads(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        _versions(),
    )


def processor() -> str:
    """The name of the processor, as exact as the system gives it."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed

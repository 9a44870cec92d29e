"""A package as others write them: networks, weights and loaders in a folder of its own."""

from pathlib import Path

NETS = '''
"""Networks of somebody else."""

import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 4, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


class Looking(Classifier):
    """torch.fx cannot trace it."""

    def forward(self, x):
        if float(x.max()) > 1e6:
            raise ValueError("too bright")
        return super().forward(x)


def broken():
    return Classifier().does_not_exist


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        raise RuntimeError("first line\\nsecond line")
'''

DATA = '''
"""Data of somebody else."""

import torch
from torch.utils.data import DataLoader, TensorDataset


def pictures():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(150, 1, 6, 6, generator=rng)
    y = torch.arange(150) % 3
    x[y == 1, :, :3] += 0.2
    x[y == 2, :, :, 3:] += 0.2
    return TensorDataset(x[:90], y[:90]), TensorDataset(x[90:], y[90:])


def loaders():
    train, test = pictures()
    return DataLoader(train, 15, shuffle=True), DataLoader(test, 15)
'''

SUBJECTS = """
[pictures]
model = "{package}.nets:Classifier"
data = "{package}.data:loaders"
weights = "pictures.safetensors"
label = "Somebody's classifier"

[looking]
model = "{package}.nets:Looking"
data = "{package}.data:loaders"
weights = "pictures.safetensors"

[broken]
model = "{package}.nets:broken"
data = "{package}.data:loaders"

[failing]
model = "{package}.nets:Failing"
data = "{package}.data:loaders"
"""

TRAINING = """
import sys
import torch
from safetensors.torch import save_file

sys.path.append({folder!r})
from {package}.nets import Classifier
from {package}.data import pictures

torch.manual_seed(0)
model = Classifier()
x, y = pictures()[0].tensors
optimizer = torch.optim.Adam(model.parameters(), 0.05)
for _ in range(30):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
save_file(model.state_dict(), {weights!r})
"""


def write_package(folder: Path, package: str) -> Path:
    """The package, its weights and its subject file, which is returned.

    package: its name, which differs between tests: a process imports a name once.
    """
    (folder / package).mkdir(parents=True)
    (folder / package / "nets.py").write_text(NETS, encoding="utf-8")
    (folder / package / "data.py").write_text(DATA, encoding="utf-8")
    file = folder / "subjects.toml"
    file.write_text(SUBJECTS.format(package=package), encoding="utf-8")
    weights = str(folder / "pictures.safetensors")
    exec(TRAINING.format(folder=str(folder), package=package, weights=weights), {})
    return file

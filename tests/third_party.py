"""A package as others write them: networks, weights and loaders in a folder of its own."""

import runpy
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

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


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, image):
        x = torch.relu(self.inner(torch.relu(self.down(image))))
        return {"logits": self.head(torch.relu(self.up(x)))}


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, series, scale):
        hidden, _ = self.gru(series * scale[:, None, None])
        return self.head(hidden[:, -1])


class Block(nn.Module):
    def __init__(self, dim=16, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Writer(nn.Module):
    """Like GPT-2: the embedding is the output weight too."""

    def __init__(self, words=12, dim=16):
        super().__init__()
        self.words = nn.Embedding(words, dim)
        self.places = nn.Embedding(8, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(2))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, input_ids):
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


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
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


def pictures():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(150, 1, 6, 6, generator=rng)
    y = torch.arange(150) % 3
    x[y == 1, :, :3] += 0.2
    x[y == 2, :, :, 3:] += 0.2
    return TensorDataset(x[:90], y[:90]), TensorDataset(x[90:], y[90:])


def scenes():
    """Dark, grey and bright patches: three classes of pixels."""
    rng = torch.Generator().manual_seed(2)
    patches = torch.rand(60, 1, 4, 4, generator=rng)
    x = patches.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = (3 * x[:, 0]).long()
    data = TensorDataset(x + 0.05 * torch.randn(x.shape, generator=rng), y)
    train, test = random_split(data, (36, 24), torch.Generator().manual_seed(0))
    return {"train": DataLoader(train, 6, shuffle=True), "test": DataLoader(test, 6)}


class Series(Dataset):
    def __init__(self, n, seed):
        rng = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 7, 2, generator=rng)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        target = self.x[i, -3:, 0].mean() - self.x[i, -1, 1]
        return {"series": self.x[i], "scale": torch.tensor(1.0), "target": target[None]}


def series():
    return DataLoader(Series(60, 3), 10, shuffle=True), DataLoader(Series(30, 4), 10)


def texts():
    """Each token is mostly twice the one before, plus one, modulo 12."""
    rng = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 12, (90, 8), generator=rng)
    for place in range(1, 8):
        known = torch.rand(90, generator=rng) < 0.8
        ids[known, place] = (2 * ids[known, place - 1] + 1) % 12
    rows = [{"input_ids": row} for row in ids]
    return DataLoader(rows[:60], 12, shuffle=True), DataLoader(rows[60:], 12)


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

[scenes]
model = "{package}.nets:Segmenter"
data = "{package}.data:scenes"
weights = "scenes.pt"
task = "segmentation"

[series]
model = "{package}.nets:Forecaster"
data = "{package}.data:series"
weights = "series.pt"
task = "regression"

[texts]
model = "{package}.nets:Writer"
data = "{package}.data:texts"
weights = "texts.pt"
task = "language_model"

[broken]
model = "{package}.nets:broken"
data = "{package}.data:loaders"

[failing]
model = "{package}.nets:Failing"
data = "{package}.data:loaders"
"""


def write_package(folder: Path, package: str, *, every: bool = False) -> Path:
    """The package, its weights and its subject file, which is returned.

    package: its name, which differs between tests: a process imports a name once. every: also
    train the networks that are no image classifiers.
    """
    (folder / package).mkdir(parents=True)
    (folder / package / "nets.py").write_text(NETS, encoding="utf-8")
    (folder / package / "data.py").write_text(DATA, encoding="utf-8")
    file = folder / "subjects.toml"
    file.write_text(SUBJECTS.format(package=package), encoding="utf-8")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    nets = import_module(f"{package}.nets")
    data = import_module(f"{package}.data")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(
            trained(nets.Classifier(), data.loaders(), "images"), folder / "pictures.safetensors"
        )
        if every:
            for name, network in {
                "scenes": nets.Segmenter,
                "series": nets.Forecaster,
                "texts": nets.Writer,
            }.items():
                splits = getattr(data, name)()
                torch.save(trained(network(), splits, name), folder / f"{name}.pt")
    return file


def run_script(folder: Path) -> str:
    """What the exported script in that folder prints where our package cannot be imported."""
    path = list(sys.path)
    own = {name: sys.modules[name] for name in sys.modules if name.startswith("pruning_core")}
    try:
        blocked: dict[str, Any] = dict.fromkeys(own)  # None: its import fails
        sys.modules.update(blocked)
        with redirect_stdout(StringIO()) as printed:
            runpy.run_path(str(folder / "load_masks.py"), run_name="__main__")
    finally:
        sys.modules.update(own)
        sys.path[:] = path
    return printed.getvalue().strip()


def trained(model: nn.Module, splits: Any, kind: str) -> dict[str, Tensor]:
    """The weights after a short training, as the package's owner would do it."""
    loader = splits["train"] if isinstance(splits, dict) else splits[0]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range({"images": 10, "texts": 12}.get(kind, 6)):
        for batch in loader:
            optimizer.zero_grad()
            LOSSES[kind](model, batch).backward()
            optimizer.step()
    return model.state_dict()


def _next_token_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    ids = batch["input_ids"]
    return functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


LOSSES: dict[str, Callable[[nn.Module, Any], Tensor]] = {
    "images": lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
    "scenes": lambda model, batch: functional.cross_entropy(model(batch[0])["logits"], batch[1]),
    "series": lambda model, batch: functional.mse_loss(
        model(batch["series"], batch["scale"]), batch["target"]
    ),
    "texts": _next_token_loss,
}

"""`workspace(model, train=, val=, test=)` reads what people have, or refuses it in a sentence."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision import transforms
from torchvision.datasets import ImageFolder

from pruning_core import evaluate, workspace
from tests.core.toy import pictures, refusal, same_state, state

N = 30
X = torch.rand(N, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


class Pairs(Dataset[Any]):
    """A map-style data set. noise: random numbers are added, of torch or of its own generator."""

    def __init__(self, noise: str = "") -> None:
        self.noise = noise
        self.rng = torch.Generator().manual_seed(5)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        rng = {"": None, "torch": None, "own": self.rng}[self.noise]
        noise = torch.rand(1, generator=rng) if self.noise else torch.zeros(1)
        return X[index] + noise, int(Y[index])


class Stream(IterableDataset[Any]):
    """endless: starts again at its end; drifting: no pass is equal to the one before."""

    def __init__(self, endless: bool = False, drifting: bool = False) -> None:
        self.endless = endless
        self.drifting = drifting
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        self.passes += 1
        while True:
            for x, y in zip(X, Y, strict=True):
                yield (x + self.passes if self.drifting else x), int(y)
            if not self.endless:
                return


class Batches(Dataset[Any]):
    """Each item is a batch already, for a loader with batch_size=None."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[10 * index : 10 * index + 10], Y[10 * index : 10 * index + 10]


class Shards:
    """Gives batches, and nothing else."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(X.split(8), Y.split(8), strict=True)


class Named(nn.Module):
    """Reads its input by name and gives a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, pixels: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(pixels * mask)}


def named_batch(items: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    pixels = torch.stack([x for x, _ in items])
    return {
        "pixels": pixels,
        "mask": torch.ones_like(pixels),
        "labels": torch.tensor([y for _, y in items]),
    }


def read(split: Any, size: int) -> tuple[Any, Tensor]:
    parts = list(split.batches(size))
    x = [part for part, _ in parts]
    return (torch.cat(x) if isinstance(x[0], Tensor) else x), torch.cat([y for _, y in parts])


GIVEN: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "a TensorDataset": lambda: TensorDataset(X, Y),
    "a map-style data set": Pairs,
    "a list": lambda: list(zip(X, Y.tolist(), strict=True)),
    "a Subset": lambda: Subset(Pairs(), range(N)),
    "a shuffled loader": lambda: DataLoader(TensorDataset(X, Y), 7, shuffle=True, drop_last=True),
    "a shuffled loader of a data set": lambda: DataLoader(Pairs(), 7, shuffle=True, drop_last=True),
    "a loader that draws twice": lambda: DataLoader(
        Pairs(), 7, sampler=RandomSampler(range(N), replacement=True)
    ),
    "a weighted loader": lambda: DataLoader(
        Pairs(), 7, sampler=WeightedRandomSampler([1.0] * N, 5)
    ),
    "a batch sampler": lambda: DataLoader(
        Pairs(), batch_sampler=[[3 * k + 2, 3 * k, 3 * k + 1] for k in reversed(range(10))]
    ),
    "torch's own batch sampler": lambda: DataLoader(
        Pairs(), batch_sampler=BatchSampler(RandomSampler(range(N)), 4, drop_last=False)
    ),
    "a stream": Stream,
    "a loader of a stream": lambda: DataLoader(Stream(), 7),
    "a loader without batch size": lambda: DataLoader(Batches(), batch_size=None, shuffle=True),
    "an iterable of batches": lambda: Shards(),
    "a stream bounded by samples=": lambda: Stream(endless=True),
}


def test_every_kind_of_data_gives_all_samples_in_one_order() -> None:
    """Whatever the sampler: the loader's shuffling, drop_last and weights are not taken over."""
    wrong = []
    for kind, make in GIVEN.items():
        space = workspace(network(), train=(X, Y), val=(X, Y), test=make(), samples=N)
        for size in (4, N, 11):
            x, y = read(space.dataset.test, size)
            if not (torch.equal(x, X) and torch.equal(y, Y)):
                wrong.append(f"{kind}, batches of {size}")
    assert not wrong


def test_a_subset_sampler_selects() -> None:
    chosen = [7, 3, 20, 11]
    loader = DataLoader(Pairs(), 2, sampler=SubsetRandomSampler(chosen))
    space = workspace(network(), train=(X, Y), val=(X, Y), test=loader)
    assert torch.equal(read(space.dataset.test, 3)[0], X[chosen])


def test_random_transforms_are_drawn_once_and_anew_in_each_epoch() -> None:
    for noise, kind in (("torch", "ItemSplit"), ("own", "Samples")):
        before = torch.get_rng_state()
        space = workspace(network(), train=Pairs(noise), val=Pairs(noise), test=Pairs())
        assert torch.equal(before, torch.get_rng_state())
        for split in (space.dataset.train, space.dataset.val):
            assert torch.equal(read(split, 5)[0], read(split, N)[0]), noise
            assert not torch.equal(read(split, 5)[0], X), noise
        train = space.dataset.train
        assert type(train).__name__ == kind
        epochs = [torch.cat([*map(pictures, train.shuffled(10, seed))]) for seed in (1, 1, 2)]
        assert torch.equal(epochs[0], epochs[1])
        assert torch.equal(epochs[0].sort(0)[0], epochs[2].sort(0)[0]) is (noise == "own")
        assert sum("at random" in note for note in space.notes) == 2, space.notes


def test_dicts_are_read_by_their_names() -> None:
    loader = DataLoader(Pairs(), 7, shuffle=True, collate_fn=named_batch)
    space = workspace(Named(), train=loader, test=loader)
    x, y = next(space.dataset.test.batches(N))
    assert isinstance(x, dict)
    assert set(x) == {"pixels", "mask"}
    assert torch.equal(y, Y)
    assert evaluate(space.model, space.dataset.test, device="cpu").n == N


def padded(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    longest = max(len(x) for x, _ in items)
    rows = [nn.functional.pad(x, (0, longest - len(x))) for x, _ in items]
    return torch.stack(rows), torch.tensor([y for _, y in items])


class Summing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return self.head(x.sum(1, keepdim=True)), 0


def test_sequences_of_different_lengths_are_padded_by_the_users_collate() -> None:
    items: Any = [(torch.ones(1 + k % 5), k % 3) for k in range(130)]
    loader: Any = DataLoader(items, 4, shuffle=True, collate_fn=padded)
    space = workspace(Summing(), train=loader, test=loader)
    x, y = next(space.dataset.test.batches(3))
    assert isinstance(x, Tensor)
    assert x.sum(1).tolist() == [1, 2, 3]
    assert y.tolist() == [0, 1, 2]
    one = evaluate(space.model, space.dataset.test, device="cpu", batch_size=7)
    assert one.n == 130


class OptimizedModule(nn.Module):
    """What torch.compile gives, without its slow import."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._orig_mod = inner


NETWORKS: dict[str, Callable[[], Any]] = {
    "in training mode": lambda: network().train(),
    "in half precision": lambda: network().half(),
    "in bfloat16": lambda: network().bfloat16(),
    "in float64": lambda: network().double(),
    "in DataParallel": lambda: nn.DataParallel(network()),
    "compiled": lambda: OptimizedModule(network()),
}


def test_every_state_of_a_network_is_opened_and_left_as_it_is() -> None:
    expected = network()(X).argmax(1)
    wrong = []
    for kind, make in NETWORKS.items():
        model = make()
        before = state(model)
        training = model.training
        space = workspace(model, train=(X, Y), test=(X, Y))
        classes = evaluate(space.model, space.dataset.test, device="cpu").classes
        assert classes is not None
        answers = classes.predictions
        same = (answers == expected).float().mean() > (0.9 if "b" in kind[3:5] else 0.99)
        if not (same and same_state(model, before) and model.training is training):
            wrong.append(kind)
        if space.model.training or {p.dtype for p in space.model.parameters()} & {torch.half}:
            wrong.append(f"{kind}: the copy")
    assert not wrong


class Keeping(nn.Module):
    """Keeps its last activation, which copy.deepcopy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept = [self.inner(x)]
        return self.kept[0]


def test_a_network_that_keeps_activations_is_copied() -> None:
    model = Keeping()
    model(X)
    kept = model.kept[0]
    space = workspace(model, train=(X, Y))
    assert model.kept[0] is kept
    assert len(space.layers) == 2


def test_missing_splits_are_made_and_named() -> None:
    sizes = {}
    for given in ((), ("val",), ("test",), ("val", "test")):
        parts: dict[str, Any] = dict.fromkeys(given, (X, Y))
        space = workspace(network(), train=(X, Y), **parts)
        data = space.dataset
        sizes[given] = [len(split) for split in (data.train, data.val, data.test)]
        found = [note for note in space.notes if "already" in note]
        assert all("too good" in note for note in found)
        assert len(found) == (len(given) < 2)
        assert len(space.notes) == {0: 1, 1: 3 - given.count("test") * 1 - 1, 2: 0}[len(given)]
    assert sizes == {
        (): [18, 6, 6],
        ("val",): [27, 3, 30],
        ("test",): [27, 3, 30],
        ("val", "test"): [30, 30, 30],
    }
    same = DataLoader(Pairs(), 5)
    notes = workspace(network(), train=same, test=same).notes
    assert [note for note in notes if note.startswith("test= is the same object as train=")]
    made = workspace(network(), train=(X, Y)).dataset
    used = [torch.cat([*map(pictures, s.batches(9))]) for s in (made.train, made.val, made.test)]
    assert len(torch.cat(used).flatten(1).unique(dim=0)) == N


def folder_of_pictures(root: Path, classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for k in range(4):
            Image.new("L", (6, 6), 60 * number + k).save(root / name / f"{k}.png")
    return root


GREY = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])


def test_a_transform_that_is_not_used_is_named() -> None:
    x = torch.rand(20, 4)
    y = torch.arange(20) % 3
    space = workspace(nn.Linear(4, 3), train=(x, y), test=(x, y), transform=GREY)
    assert [note.partition(":")[0] for note in space.notes if "transform=" in note] == [
        "transform= is not used for test=",
        "transform= is not used for train=",
    ]


def test_folders_of_images_need_the_transform(tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "train")
    for given in (str(root), root, ImageFolder(str(root)), DataLoader(ImageFolder(str(root)), 2)):
        space = workspace(network(), train=given, transform=GREY)
        assert not any("transform=" in note for note in space.notes)
        assert space.dataset.classes == ("cat", "dog", "owl")
        assert space.dataset.shape == (1, 6, 6)
        assert "transform" in refusal(partial(workspace, network(), given))
    (root / "loose.png").touch()
    (note,) = [x for x in workspace(network(), root, transform=GREY).notes if "beside" in x]
    assert "(1, such as train/loose.png)" in note
    other = folder_of_pictures(tmp_path / "test", ("ant", "cat", "dog"))
    assert "different classes" in refusal(
        lambda: workspace(network(), train=root, test=other, transform=GREY)
    )


def test_pixels_are_shown_as_they_were_before_the_transform(tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path)
    normal = transforms.Compose([GREY, transforms.Normalize([0.3], [0.2])])
    shown = [
        workspace(network(), train=root, transform=t).dataset.test.images([0, 1])
        for t in (GREY, normal)
    ]
    torch.testing.assert_close(shown[0], shown[1])


def test_some_of_the_samples_are_used_and_a_note_says_so() -> None:
    space = workspace(network(), train=(X, Y), test=Pairs(), val=Stream(drifting=True), samples=9)
    assert [len(s) for s in (space.dataset.train, space.dataset.val, space.dataset.test)] == [9] * 3
    assert [note for note in space.notes if "9 " in note and "30 samples of train=" in note]
    assert [note for note in space.notes if "other samples at every pass" in note]
    assert torch.equal(read(space.dataset.val, 4)[0], read(space.dataset.val, 9)[0])
    assert (
        deepcopy(space.dataset.test.labels).tolist()
        == Y[torch.linspace(0, 29, 9).round().long()].tolist()
    )

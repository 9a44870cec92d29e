"""Rule x target x network: the accuracy of the whole plan with the ratios of every rule.

    nice -n 19 python -m benchmarks.ratio_rules

Networks: two of the zoo on digits, and a CIFAR-style ResNet-20 with option-A shortcuts (He et al.
2015, arXiv:1512.03385) that this script trains on digits. Curves are measured on the validation
split, the table on the test split, without training after pruning. Writes a Markdown table.
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_core import workspace
from pruning_core.allocation import STARTING_ALLOCATIONS
from pruning_core.evaluation.accuracy import Judge
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import corrected
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.types import Ratios
from pruning_core.workspaces import Workspace, open_workspace

TARGETS = (0.5, 0.6, 0.7, 0.8)


class Block(nn.Module):
    """Two 3 x 3 convolutions; a shortcut without parameters pads channels with zeros."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride = stride
        self.more = after - before

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(out + short)


class OptionA(nn.Module):
    """ResNet-20 for small images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2
        shapes += [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(Block(*shape) for shape in shapes))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(x.mean((2, 3)))


def option_a(epochs: int = 12) -> Workspace:
    """The network, trained on digits."""
    data = open_workspace("lenet5", "digits").dataset
    torch.manual_seed(0)
    model = OptionA()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for x, y in data.train.shuffled(64, epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
    train, val, test = (
        next(iter(split.batches(len(split)))) for split in (data.train, data.val, data.test)
    )
    return workspace(model.eval(), train=train, val=val, test=test, name="option_a")


def spaces() -> Iterator[tuple[str, Workspace]]:
    for name in ("resnet20", "vgg"):
        yield name, open_workspace(name, "digits")
    yield "option-A ResNet-20", option_a()


def ratios_of(plan: Plan, space: Workspace) -> dict[str, Ratios | None]:
    """Rule -> ratios; None where the rule cannot meet the target."""
    points = tuple(scan_plan(plan, space, (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)))
    measured = list(corrected(plan, space, points))
    ratios = {joint.name: joint.ratios for joint in measured}
    rows = {name: ratios.get(name) for name in (*STARTING_ALLOCATIONS, *SENSITIVITY_RULES)}
    return rows | {"corrected": measured[-1].ratios}


def test_value(plan: Plan, space: Workspace, ratios: Ratios) -> float:
    resolved = plan.resolve(space)
    network = resolved.masked_copy(resolved.masks(resolved.scores(), ratios))
    return Judge.of(space.dataset).evaluate(network, space.dataset.test).value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(f"{target:g}" for target in TARGETS))
    targets = [float(part) for part in parser.parse_args().targets.split(",")]
    header_printed = False
    for network, space in spaces():
        n = len(space.dataset.test)
        dense = Judge.of(space.dataset).evaluate(space.model, space.dataset.test).value
        for target in targets:
            plan = Plan(model=space.name or network, sparsity=target, probe=360)
            rows = ratios_of(plan, space)
            if not header_printed:
                print("| network | target | dense |", " | ".join(rows), "|")
                print("| --- " * (3 + len(rows)) + "|")
                header_printed = True
            cells = [
                "refused" if r is None else f"{100 * test_value(plan, space, r):.1f}"
                for r in rows.values()
            ]
            print(
                f"| {network} (n = {n}) | {target:.0%} | {100 * dense:.1f} |",
                " | ".join(cells),
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""The README says what the code says: every choice, every command, every checkpoint with its
measured accuracy.
"""

import re
from pathlib import Path

import pytest

from pruning_core.cli.commands import AXES, main
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.zoo import ARCHITECTURES, available, card

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "pruning_core"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def zoo_row(arch: str, dataset: str) -> str:
    """The README's line of a checkpoint, from its card."""
    found = card(arch, dataset)
    low, high = found.test_interval
    accuracy = f"{found.test_top1:.2%} ({low:.1%} to {high:.1%}, n = {found.test_images:,})"
    return f"| {ARCHITECTURES[arch].label} | `{arch}` | {dataset} | {accuracy} | {found.parameters:,} | {found.macs:,} |"


@pytest.mark.parametrize("axis", AXES)
def test_every_choice_of_an_axis_is_named(axis: str) -> None:
    missing = [name for name in AXES[axis] if not re.search(rf"`{re.escape(name)}[`:]", README)]
    assert not missing


def test_every_way_from_curves_to_ratios_is_named() -> None:
    assert all(f"`{name}`" in README for name in SENSITIVITY_RULES)


def test_every_shipped_checkpoint_has_its_row() -> None:
    shipped = [
        pair
        for pair in available()
        if (CORE / "zoo/weights" / f"{pair[0]}-{pair[1]}.json").exists()
    ]
    assert len(shipped) >= len(ARCHITECTURES)
    missing = [zoo_row(*pair) for pair in shipped if zoo_row(*pair) not in README]
    assert not missing


def numbers(pattern: str) -> list[float]:
    """What the one place of the README that fits says."""
    (found,) = re.findall(pattern, README)
    return [float(number) for number in found]


def test_differences_from_dense_are_those_of_the_table_and_dense_is_the_card() -> None:
    dense = numbers(r"ResNet-20 \(dense ([\d.]+)%\) \| VGG \(dense ([\d.]+)%\)")
    assert dense == [
        round(100 * card(arch, "fashion_mnist").test_top1, 2) for arch in ("resnet20", "vgg")
    ]
    left = numbers(r"80% global magnitude \| ([\d.]+) ± [\d.]+% \| ([\d.]+) ± [\d.]+% \|")
    told = numbers(r"within ([\d.]+) \(ResNet-20\) and ([\d.]+) \(VGG\) points of dense")
    assert told == [round(before - after, 2) for before, after in zip(dense, left, strict=True)]


def test_the_finer_the_cut_the_more_survives_in_the_table() -> None:
    rows = re.findall(
        r"\| [^|]+, density 0\.3 \| ([\d.]+) ± [\d.]+% \| ([\d.]+) ± [\d.]+% \|", README
    )
    assert len(rows) == 4
    for column in zip(*rows, strict=True):
        assert sorted(map(float, column), reverse=True) == list(map(float, column))


def test_every_command_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.search(r"list \| run.*?$", capsys.readouterr().out, re.MULTILINE)
    assert commands is not None
    for command in commands.group().split(" | "):
        assert f"python -m pruning_core {command.strip().split()[0]}" in README


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_table_of_choices_that_go_together_is_up_to_date(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If not: python -m pruning_core list --markdown > docs/axes.md."""
    assert main(["list", "--markdown"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/axes.md").read_text(encoding="utf-8")

"""`pruning train`: trains a network of the zoo by its recipe."""

import argparse
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.options import add_json
from pruning_core.cli.output import note_epoch, print_json
from pruning_core.export import evaluation_dict
from pruning_core.types import Epoch, Tuned
from pruning_core.zoo import train

DATASET = "digits"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", help="network and data set, such as resnet20-digits, or a network with --dataset"
    )
    parser.add_argument("--dataset", metavar="NAME", help=f"data set; default {DATASET}")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the weights and the model card; default: your own checkpoints",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    arch, _, dataset = options.name.partition("-")
    event = None
    for event in train(arch, options.dataset or dataset or DATASET, out=options.out):
        if isinstance(event, Epoch):
            note_epoch(event)
    if options.json and isinstance(event, Tuned):
        validation = evaluation_dict(event.evaluation)
        print_json({"best_epoch": event.best_epoch, "validation": validation})
    return 0


COMMAND = Command(
    "train",
    "train a network of the zoo by its recipe",
    "pruning train resnet20-digits --out checkpoints",
    add_options,
    run,
)

"""`pruning store`: writes the pruned network as a sparse file, and compares storage formats."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import output_file, read_plan
from pruning_core.cli.options import add_json, add_plan, add_subject
from pruning_core.cli.output import print_json
from pruning_core.compress.sparse_file import LOADER, write_sparse
from pruning_core.compress.storage_sizes import StoredSize, storage_sizes
from pruning_core.export import masks_by_parameter
from pruning_core.granularity import granularity
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, dependent_masks_of, pruned_copy
from pruning_core.workspaces import open_workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="sparse safetensors file to write; load_sparse.py is written beside it",
    )
    add_json(parser)
    add_subject(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = output_file(options.out, "sparse.safetensors")
    space = open_workspace(plan.model, plan.dataset)
    _, masks = choose_masks(plan, space)
    dependent = dependent_masks_of(plan, space, masks)
    network = pruned_copy(plan, space, masks)
    named = masks_by_parameter(masks, space.layers, dependent)
    out.write_bytes(write_sparse(tensors_of(network), named, metadata={"plan": plan.to_json()}))
    (out.parent / "load_sparse.py").write_text(LOADER, encoding="utf-8")
    g = granularity(plan.granularity)
    sizes = storage_sizes(network, space.layers, masks, g, named)
    if options.json:
        print_json([asdict(size) for size in sizes])
    else:
        print(_table(sizes))
    return 0


def _table(sizes: Sequence[StoredSize]) -> str:
    """One line per format: bytes, how many times smaller than dense, measured or computed."""
    dense = next(size.bytes for size in sizes if size.format == "dense")
    return "\n".join(
        f"{size.label:24} {size.bytes:>13,} bytes  {dense / size.bytes:5.2f} x smaller  "
        f"{'measured' if size.measured else 'computed'}"
        for size in sizes
    )


COMMAND = Command(
    "store",
    "write the pruned network as a sparse file and compare storage formats",
    "pruning store plan.json --out sparse.safetensors",
    add_options,
    run,
)

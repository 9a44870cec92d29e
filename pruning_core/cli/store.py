"""`pruning store`: writes the pruned network as a sparse file, and compares storage formats."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import output_file, read_plan
from pruning_core.cli.options import add_json, add_plan, add_subject
from pruning_core.cli.output import change_words, print_json
from pruning_core.compress.shared_storage import SharingCost, shared_copy, sharing_cost
from pruning_core.compress.sparse_file import LOADER, write_sparse
from pruning_core.compress.storage_sizes import StoredSize, dense_stored, storage_sizes
from pruning_core.export import masks_by_parameter
from pruning_core.granularity import granularity
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, dependent_masks_of, pruned_copy
from pruning_core.whole_files import write_files
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
    parser.add_argument(
        "--share-bits",
        type=int,
        metavar="B",
        help="the kept weights of each layer share at most 2^B values, found by k-means (1 to 8): "
        "the file is smaller and the network another one, whose value on the test split is printed",
    )
    parser.add_argument(
        "--index-bits",
        type=int,
        metavar="K",
        help="bits of a distance in the formats that store distances, instead of those of the "
        "papers",
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
    g = granularity(plan.granularity)
    index_bits = options.index_bits
    sizes = storage_sizes(network, space.layers, masks, g, named, index_bits)
    shared = None
    if options.share_bits is not None:
        shared = sharing_cost(
            plan, space, masks, options.share_bits, model=network, index_bits=index_bits
        )
        network = shared_copy(network, space.layers, masks, options.share_bits)
        sizes = (*sizes, *shared.sizes)
    stored = write_sparse(tensors_of(network), named, metadata={"plan": plan.to_json()})
    write_files(out.parent, {out.name: stored, "load_sparse.py": LOADER})
    if options.json:
        rows = [asdict(size) for size in sizes]
        print_json(rows if shared is None else {"sizes": rows, "sharing": _as_dict(shared)})
    else:
        print(_table(sizes))
        if shared is not None:
            print(_cost(shared))
    return 0


def _as_dict(shared: SharingCost) -> dict[str, object]:
    """The values on the test split as JSON values. change, interval_95: in the value's own unit."""
    return {
        "bits": shared.bits,
        "pruned": shared.before.value,
        "shared": shared.after.value,
        "change": shared.change.value,
        "interval_95": list(shared.change.interval),
        "n": shared.after.n,
    }


def _cost(shared: SharingCost) -> str:
    """What sharing changes, in one line."""
    task = shared.after.task
    return (
        f"{shared.bits}-bit shared weights: {task.short_label} "
        f"{task.text(shared.before.value)} -> {task.text(shared.after.value)}, "
        f"{change_words(shared.change)}, "
        f"n = {shared.after.n}, test split"
    )


def _table(sizes: Sequence[StoredSize]) -> str:
    """One line per format: bytes, how many times smaller than dense, measured or computed."""
    dense = dense_stored(sizes)
    return "\n".join(
        f"{size.label:36} {size.bytes:>13,} bytes  {dense / size.bytes:5.2f} x smaller  "
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

"""Texts as tokens for causal language models of Hugging Face's form."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.subjects.text_files import read_texts
from pruning_core.types import PruningError
from pruning_core.user_code import user_code

IGNORED = -100
"""The target of padding."""
CHANGE = 1e-4
"""Outputs of earlier tokens change by rounding only: less than this fraction of the last one's."""
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")
"""Settings of a model that bound the length of a text."""


def token_rows(
    path: Path, text: str, length: int, tokens_of: Callable[[str], list[int]]
) -> dict[str, Tensor]:
    """Inputs and `labels` of all texts in a file, padded on the right to the longest.

    A .txt file is one text, which is cut into parts of `length` tokens; the texts of other files
    are shortened to it. text: the column of the text. Raises PruningError for a file without texts.
    """
    if path.suffix.lower() == ".txt":
        whole = tokens_of(_read(path))
        rows = [whole[at : at + length] for at in range(0, len(whole), length)]
    else:
        rows = [tokens_of(each)[:length] for each in read_texts(path, ("",), text, "").texts]
    if not any(len(row) > 1 for row in rows):
        raise PruningError(f"The file {path} has no text of two tokens or more.")
    longest = max(map(len, rows))
    return {
        "input_ids": _padded(rows, longest, 0),
        "attention_mask": _padded([[1] * len(row) for row in rows], longest, 0),
        "labels": _padded(rows, longest, IGNORED),
    }


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise PruningError(f"The file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PruningError(f"The file {path} is not a text file in UTF-8.") from error


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])


def most_tokens(config: dict[str, Any]) -> int | None:
    """The longest text that a model reads, by its config.json; None where it is not said."""
    stated = [config[key] for key in POSITIONS if isinstance(config.get(key), int)]
    return min((each for each in stated if each > 0), default=None)


def check_causal(network: nn.Module, tokens: Tensor, name: str) -> None:
    """Raises PruningError where an output depends on a later token: it would see the answer."""
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % (int(tokens.max()) + 1 if int(tokens.max()) else 2)
    with user_code(f"{name} on the first text"), torch.inference_mode():
        change = (network(input_ids=tokens).logits - network(input_ids=other).logits).abs()
    if float(change[:, :-1].max()) > CHANGE * float(change[:, -1].max()):
        raise PruningError(
            f"{name} reads the tokens after the one that it should give, so it is no causal "
            "language model (is_decoder is false in its config.json)."
        )

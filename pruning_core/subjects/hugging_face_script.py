"""Lines of an exported script that opens a network of Hugging Face's form by transformers only."""

from pathlib import Path

from pruning_core.subjects.token_sequences import IGNORED

_READ = "import csv\nimport json\n\n"
_NETWORK = '''\
{standard}from transformers import {reader}, {architecture}

folder = {folder!r}
{name} = {reader}.from_pretrained(folder, local_files_only=True)


def build_network():
    """The network with its weights in float32."""
    model = {architecture}.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
{after}    return model'''
_NO_CACHE = "    model.config.use_cache = False\n"
_ROWS = '''


def rows(path):
    """The rows of a file, as dicts."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.lower().endswith(".txt"):
            return [{{{text!r}: file.read()}}]
        if path.lower().endswith(".jsonl"):
            return [json.loads(line) for line in file if line.strip()]
        mark = "," if path.lower().endswith(".csv") else "\\t"
        return list(csv.DictReader(file, delimiter=mark))'''
_SEQUENCES = '''


def samples(path):
    """The texts as tokens. A .txt file is one text, cut into parts of {length} tokens."""
    tokens = [tokenizer(row[{text!r}])["input_ids"] for row in rows(path)]
    if path.lower().endswith(".txt"):
        tokens = [tokens[0][at : at + {length}] for at in range(0, len(tokens[0]), {length})]
    tokens = [row[:{length}] for row in tokens]
    longest = max(map(len, tokens))
    return [
        {{
            "input_ids": torch.tensor(row + [0] * (longest - len(row))),
            "attention_mask": torch.tensor([1] * len(row) + [0] * (longest - len(row))),
            "labels": torch.tensor(row + [{ignored}] * (longest - len(row))),
        }}
        for row in tokens
    ]'''
_TEXTS = '''


def samples(path):
    """The texts as tokens, with the numbers of their classes."""
    given = rows(path)
    texts = [[row[column] for row in given] for column in {columns}]
    inputs = tokenizer(
        *texts, padding=True, truncation=True, max_length={length}, return_tensors="pt"
    )
    names = {classes}
    numbers = {{str(number): number for number in range(len(names))}}
    numbers |= {{name: number for number, name in enumerate(names)}}
    labels = [{number} for row in given]
    return [
        {{name: part[i] for name, part in inputs.items()}} | {{"labels": labels[i]}}
        for i in range(len(labels))
    ]'''
_IMAGES = '''


def transform(image):
    """The image as the network reads it."""
    return processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]'''


def sequence_lines(folder: Path, architecture: str, text: str, length: int) -> str:
    """Lines with `build_network()` and `samples(path)` for a causal language model.

    text: the column of the texts; length: most tokens of a sample.
    """
    own = _SEQUENCES.format(text=text, length=length, ignored=IGNORED)
    return _reading_texts(folder, architecture, text, _NO_CACHE) + own


def text_lines(
    folder: Path,
    architecture: str,
    columns: tuple[str, ...],
    label: str,
    classes: tuple[str, ...],
    length: int,
) -> str:
    """Lines with `build_network()` and `samples(path)` for a classifier of texts.

    columns: of the text, or of both texts of a pair; label: the column of the class, "" for none;
    classes: name of each output; length: most tokens of a text.
    """
    number = f"numbers[str(row[{label!r}])]" if label else "0"
    own = _TEXTS.format(columns=columns, classes=classes, length=length, number=number)
    return _reading_texts(folder, architecture, columns[0], "") + own


def image_lines(folder: Path, architecture: str) -> str:
    """Lines with `build_network()` and `transform(image)` for a classifier of images."""
    return _network(folder, architecture, "", "processor", "AutoImageProcessor", "") + _IMAGES


def _reading_texts(folder: Path, architecture: str, text: str, after: str) -> str:
    network = _network(folder, architecture, _READ, "tokenizer", "AutoTokenizer", after)
    return network + _ROWS.format(text=text)


def _network(
    folder: Path, architecture: str, standard: str, name: str, reader: str, after: str
) -> str:
    return _NETWORK.format(
        standard=standard,
        reader=reader,
        architecture=architecture,
        folder=str(folder),
        name=name,
        after=after,
    )

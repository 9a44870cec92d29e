"""Networks of Hugging Face's transformers in a local folder, with their own input form:
classifiers of texts and images, and causal language models.

Nothing is downloaded, no code of the folder runs, and weights are read from safetensors only.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pruning_core.subjects.text_files import ENDINGS, TextTable, read_texts
from pruning_core.subjects.token_sequences import check_causal, most_tokens, token_rows
from pruning_core.types import PruningError
from pruning_core.user_code import user_code
from pruning_core.zoo.folders import class_folders, split_folders

EXTRA = "pip install 'pruning-explorer[transformers]'"
TEXTS = "ForSequenceClassification"
IMAGES = "ForImageClassification"
TOKENS = ("ForCausalLM", "LMHeadModel")
"""Endings of the names of models that can be opened."""
TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)
"""Files of which a tokenizer has one at least; without it, transformers makes an empty one."""
PREFIX = "hf:"
"""In a subject file, model = "hf:folder" names a folder that `save_pretrained` has made."""
LENGTH = 128
"""Longer texts are shortened to this number of tokens, by default."""


class Texts(Dataset[dict[str, Tensor]]):
    """Tokens of texts: dicts of the model's inputs, with the class number as `labels`."""

    def __init__(self, inputs: dict[str, Tensor], labels: Tensor) -> None:
        self.inputs = inputs
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = {name: tensor[index] for name, tensor in self.inputs.items()}
        return row | {"labels": self.labels[index]}


@dataclass(frozen=True)
class ModelFolder:
    """A folder made by `save_pretrained`. config: what is in its config.json."""

    path: Path
    config: dict[str, Any]

    @property
    def architecture(self) -> str:
        """Name of the model's class in transformers."""
        return str(self.config["architectures"][0])

    @property
    def reads_images(self) -> bool:
        """Does it classify images, not texts?"""
        return self.architecture.endswith(IMAGES)

    @property
    def gives_tokens(self) -> bool:
        """Is it a causal language model?"""
        return self.architecture.endswith(TOKENS)

    def length(self, wanted: int) -> int:
        """Most tokens of a text: those wanted, but not more than the model reads."""
        most = most_tokens(self.config)
        return wanted if most is None else min(wanted, most)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each output, in order."""
        names = self.config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        return tuple(str(names[key]) for key in sorted(names, key=int))

    def network(self) -> nn.Module:
        """The network with its weights in float32, in eval mode on the CPU.

        Raises PruningError where weights are missing or do not fit.
        """
        transformers = _transformers()
        build = getattr(transformers, self.architecture, None)
        if build is None:
            raise PruningError(
                f"transformers {transformers.__version__} has no {self.architecture}, "
                f"which {self.path} needs."
            )
        with self._reading("the weights"), torch.random.fork_rng([]):
            network, report = build.from_pretrained(
                self.path,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        mismatched = (key for key, *_ in report["mismatched_keys"])
        missing = sorted((*report["missing_keys"], *mismatched))
        if missing:
            raise PruningError(
                f"The folder {self.path} has no weights of the right shape for {missing[0]}, one "
                f"of {len(missing)}: train the model and save it whole."
            )
        if self.gives_tokens:
            network.config.use_cache = False
        ready: nn.Module = network.eval()
        return ready

    def texts(self, table: TextTable, length: int = LENGTH) -> Texts:
        """The texts as tokens by the folder's tokenizer, padded to the longest of them.

        Raises PruningError where the folder has no tokenizer.
        """
        tokenizer = self._tokenizer()
        with self._reading("the texts by the tokenizer"):
            pairs = (list(table.texts), *([list(table.seconds)] if table.seconds else []))
            inputs = tokenizer(
                *pairs, padding=True, truncation=True, max_length=length, return_tensors="pt"
            )
        return Texts(dict(inputs), torch.tensor(table.labels, dtype=torch.long))

    def sequences(self, path: Path, text: str, length: int) -> Texts:
        """The texts in a file as tokens, for a causal language model (`token_rows`)."""
        tokenizer = self._tokenizer()
        with self._reading("the texts by the tokenizer"):
            rows = token_rows(
                path, text, self.length(length), lambda each: tokenizer(each)["input_ids"]
            )
        return Texts(rows, rows.pop("labels"))

    def _tokenizer(self) -> Any:
        if not any((self.path / name).is_file() for name in TOKENIZERS):
            raise PruningError(
                f"The folder {self.path} has no tokenizer, such as {TOKENIZERS[0]}: add the one "
                "that the model was trained with, by tokenizer.save_pretrained."
            )
        with self._reading("the tokenizer"):
            return _transformers().AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=False
            )

    def transform(self) -> Callable[[Any], Tensor]:
        """The folder's input transform: PIL image -> tensor."""
        with self._reading("the image processor"):
            processor = _transformers().AutoImageProcessor.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=False
            )

        def prepared(image: Any) -> Tensor:
            pixels: Tensor = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
            return pixels[0]

        return prepared

    @contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        with _quiet(), user_code(f"Reading {part} in {self.path}"):
            yield


def model_folder(path: str | Path) -> ModelFolder:
    """The network in a folder, not yet loaded.

    Raises PruningError for a folder that `save_pretrained` has not made of a classifier or a causal
    language model.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise PruningError(f"There is no folder of a Hugging Face model at {folder}.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise PruningError(
            f"The folder {folder} has no config.json that can be read: make it by save_pretrained."
        ) from error
    except ValueError as error:
        raise PruningError(f"The file {folder / 'config.json'} is not valid JSON.") from error
    if not isinstance(config, dict) or not config.get("architectures"):
        raise PruningError(f"The file {folder / 'config.json'} does not name its architectures.")
    opened = ModelFolder(folder, config)
    if why := _refusal(opened):
        raise PruningError(f"The model in {folder} cannot be opened: {why}.")
    return opened


def _refusal(folder: ModelFolder) -> str | None:
    config = folder.config
    if "auto_map" in config:
        return "it needs code of its own (auto_map), which is never run"
    if not folder.architecture.endswith((TEXTS, IMAGES, *TOKENS)):
        return (
            f"{folder.architecture} is no classifier and no causal language model; a name ends in "
            f"{TEXTS}, {IMAGES}, {TOKENS[0]} or {TOKENS[1]}"
        )
    if "quantization_config" in config:
        return "its weights are quantised; save it in float32, float16 or bfloat16"
    if not any(folder.path.glob("*.safetensors")):
        return "the folder has no *.safetensors; save it again with save_pretrained"
    if folder.gives_tokens:
        return None
    if config.get("problem_type") not in (None, "single_label_classification"):
        return f"its problem_type is {config['problem_type']}, not single_label_classification"
    if len(folder.classes) < 2:
        return "it has a single output, and a classifier needs at least two classes"
    return None


def hugging_face(
    folder: str | Path,
    data: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    second: str = "",
    length: int = LENGTH,
) -> tuple[nn.Module, dict[str, Any]]:
    """A network in a local folder, and its data as arguments of `workspace`.

    data: for texts, a .jsonl, .csv or .tsv file, or a folder with train, val and test files; for
    images, a folder with one sub-folder per class, or with folders train, val and test of them.
    For causal language models also a .txt file, which is cut into parts of `length` tokens; their
    task is language_model.
    text, second, label: the columns of the text, of the second text of a pair, and of the class; ""
    for texts without classes, whose task is the agreement with the dense network; length: most
    tokens of a text. Raises PruningError for what cannot be opened.
    """
    model = model_folder(folder)
    place = Path(data).expanduser()
    if not place.exists():
        raise PruningError(f"There is no file or folder of data at {place}.")
    if model.reads_images:
        return model.network(), _image_arguments(model, place)
    if model.gives_tokens:
        return _language_model(model, place, text, length)
    splits = {
        part: read_texts(path, model.classes, text, label, second)
        for part, path in text_parts(place).items()
    }
    given: dict[str, Any] = {part: model.texts(table, length) for part, table in splits.items()}
    unlabelled = {} if label else {"task": "agreement"}
    return model.network(), given | {"classes": model.classes} | unlabelled


def _language_model(
    model: ModelFolder, place: Path, text: str, length: int
) -> tuple[nn.Module, dict[str, Any]]:
    network = model.network()
    files = text_parts(place, (".txt", *ENDINGS))
    splits = {part: model.sequences(path, text, length) for part, path in files.items()}
    longest = splits["train"].inputs["attention_mask"].sum(1).argmax()
    tokens = splits["train"].inputs["input_ids"][longest][None]
    check_causal(network, tokens, model.architecture)
    return network, {**splits, "task": "language_model"}


def text_parts(place: Path, endings: Sequence[str] = ENDINGS) -> dict[str, Path]:
    """train, val and test -> file; a single file is train.

    Raises PruningError where train is missing or a part has two files.
    """
    if place.is_file():
        return {"train": place}
    parts = {}
    for part in ("train", "val", "test"):
        names = [f"{part}{ending}" for ending in endings]
        files = [place / name for name in names if (place / name).is_file()]
        if len(files) > 1:
            raise PruningError(
                f"The folder {place} has {files[0].name} and {files[1].name}: keep one of them."
            )
        if files:
            parts[part] = files[0]
    if "train" not in parts:
        names = [f"train{ending}" for ending in endings]
        raise PruningError(f"The folder {place} has no {', '.join(names[:-1])} or {names[-1]}.")
    return parts


def _image_arguments(model: ModelFolder, place: Path) -> dict[str, Any]:
    if not place.is_dir():
        raise PruningError(f"{model.architecture} reads images, and {place} is no folder of them.")
    parts = split_folders(place)
    train = parts.get("train", place)
    names = list(class_folders(train))
    outputs = {name.lower(): number for number, name in enumerate(model.classes)}
    outputs |= {str(number): number for number in range(len(model.classes))}
    if unknown := [name for name in names if name.lower() not in outputs]:
        raise PruningError(
            f"The folder {train / unknown[0]} is named after no class of the network, "
            f"such as {model.classes[0]!r}."
        )
    return {
        **{part: str(path) for part, path in (parts or {"train": place}).items()},
        "transform": model.transform(),
        "outputs": tuple(outputs[name.lower()] for name in names),
    }


def _transformers() -> Any:
    """The package transformers. Raises PruningError where it is not installed."""
    try:
        import transformers  # takes seconds to import
    except ImportError as error:
        raise PruningError(f"Hugging Face models need transformers: {EXTRA}.") from error
    return transformers


@contextmanager
def _quiet() -> Iterator[None]:
    """A context in which transformers prints nothing."""
    logging = _transformers().utils.logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

"""Classifiers of transformers in a local folder: opened as subjects, or refused in one sentence."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.masks import apply_masks
from pruning_core.model.graph.replay import Replay
from pruning_core.model.layer_graph import network_map
from pruning_core.model.model_io import logits
from pruning_core.plan import Plan
from pruning_core.subjects.files import read_file
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.hugging_face import hugging_face
from pruning_core.types import PruningError
from tests.core.export.scripts import exported, printed_here
from tests.core.toy import refusal

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "the"]
ROWS = [
    {"text": ("good" if n % 2 else "bad") + " film" * (n % 4), "label": ("pos", "0")[n % 2 - 1]}
    for n in range(20)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with a tokenizer, a ViT with its image processor, and texts."""
    import transformers  # 1 second in every process of the suite

    root = tmp_path_factory.mktemp("hugging_face")
    sizes: Any = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    names: Any = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bert = transformers.BertConfig(vocab_size=10, num_hidden_layers=2, **sizes, **names)
        transformers.BertForSequenceClassification(bert).save_pretrained(root / "bert")
        vit = transformers.ViTConfig(
            image_size=16, patch_size=8, num_hidden_layers=1, **sizes, **names
        )
        transformers.ViTForImageClassification(vit).save_pretrained(root / "vit")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(root / "bert")
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(root / "vit")
    lines = "\n".join(json.dumps(row) for row in ROWS)
    (root / "reviews.jsonl").write_text(lines, encoding="utf-8")
    table = "\n".join(f"{row['text']}\t{row['label']}" for row in ROWS)
    (root / "reviews.tsv").write_text(f"sentence\tlabel\n{table}\n", encoding="utf-8")
    return root


def test_a_scan_of_a_bert_from_a_subject_file_gives_the_bits_of_full_passes(folder: Path) -> None:
    (folder / "mine.toml").write_text('[my_bert]\nmodel = "hf:bert"\ndata = "reviews.jsonl"\n')
    entry = read_file(folder / "mine.toml")[0]
    assert "in " + str(folder / "bert") in entry.subject().help
    space = entry.open()
    test = space.dataset.test
    assert space.dataset.classes == ("neg", "pos")
    assert set(space.example or ()) == {"input_ids", "token_type_ids", "attention_mask"}
    assert len(space.layers) == 14
    passes = PartialForward(space.model, test, device=torch.device("cpu"), batch_size=8)
    assert isinstance(passes.forward.program, Replay)
    chosen = [space.layers[0], space.layers[8], space.layers[-1]]
    half = {x.name: torch.arange(x.numel).view(x.shape) % 2 == 0 for x in chosen}
    for layer, _, found in passes.run(chosen, lambda layer: [half[layer.name]]):
        changed = apply_masks(space.model, {layer.name: half[layer.name]}, space.layers)
        with torch.inference_mode():
            wanted = torch.cat([logits(changed, x) for x, _ in test.batches(8)])
        assert torch.equal(found, wanted), layer.name
    shown = network_map(space.model, space.layers, space.one)
    assert "co_varnames" in str(shown.reason)
    assert [node.name for node in shown.nodes] == [layer.name for layer in space.layers]


def test_the_numbers_are_those_of_transformers(folder: Path) -> None:
    import transformers

    network, data = hugging_face(folder / "bert", folder / "reviews.tsv", text="sentence", length=4)
    space = workspace(network, **data)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "bert")
    own = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "bert").eval()
    texts = [row["text"] for row in ROWS]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=4, return_tensors="pt")
    whole = data["train"]
    assert whole.labels.tolist() == [n % 2 for n in range(20)]
    assert torch.equal(whole.inputs["input_ids"], inputs["input_ids"])
    with torch.inference_mode():
        assert torch.equal(space.model(**whole.inputs).logits, own(**inputs).logits)
    parts = (space.dataset.train, space.dataset.val, space.dataset.test)
    assert sum(map(len, parts)) == len(whole)


SUBJECTS = """
[labelled]
model = "hf:bert"
data = "reviews.jsonl"
arguments = { length = 4 }

[pairs]
model = "hf:bert"
data = "reviews.tsv"
task = "agreement"
arguments = { text = "sentence", second = "label", label = "" }

[images]
model = "hf:vit"
data = "images"
"""


def test_the_scripts_need_transformers_only(folder: Path, tmp_path: Path) -> None:
    write_pictures(folder)
    (folder / "scripts.toml").write_text(SUBJECTS)
    wrong = {}
    for entry in read_file(folder / "scripts.toml"):
        plan = Plan(entry.name, f"{entry.name}_data", sparsity=0.8, criterion="random", probe=10)
        line = exported(plan, entry.open(), tmp_path / entry.name)
        if (own := printed_here(tmp_path / entry.name)) != line:
            wrong[entry.name] = (own, line)
    assert not wrong


def write_pictures(folder: Path) -> None:
    from PIL import Image

    for number, name in enumerate(("1", "neg")):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        for n in range(6):
            picture = Image.new("RGB", (20, 24), (40 * n, 90 * number, 9))
            picture.save(folder / "images" / name / f"{n}.png")


def test_images_get_the_transform_of_the_folder(folder: Path) -> None:
    write_pictures(folder)
    network, data = hugging_face(folder / "vit", folder / "images")
    space = workspace(network, **data)
    x, _ = next(space.dataset.test.batches(4))
    assert isinstance(x, torch.Tensor)
    assert x.shape[1:] == (3, 16, 16)
    assert float(x.min()) >= -1
    assert space.dataset.outputs == (1, 0)
    assert PartialForward(space.model, space.dataset.test, device=torch.device("cpu")).traced


def edited(folder: Path, place: Path, **changes: Any) -> Path:
    """A copy of the BERT with other entries in config.json."""
    place.mkdir()
    for path in (folder / "bert").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    config = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(config))
    return place


def without(place: Path, name: str) -> Path:
    (place / name).unlink()
    return place


REFUSED: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "no folder": (lambda folder, _: folder / "nothing", "There is no folder"),
    "no config": (lambda f, p: without(edited(f, p), "config.json"), "has no config.json"),
    "own code": (lambda f, p: edited(f, p, auto_map={"AutoModel": "m.M"}), "never run"),
    "no head": (lambda f, p: edited(f, p, architectures=["BertModel"]), "is no classifier"),
    "no weights": (lambda f, p: without(edited(f, p), "model.safetensors"), "no *.safetensors"),
    "regression": (lambda f, p: edited(f, p, problem_type="regression"), "problem_type"),
    "unknown": (
        lambda f, p: edited(f, p, architectures=["FooForSequenceClassification"]),
        "has no FooForSequenceClassification",
    ),
    "other shape": (lambda f, p: edited(f, p, intermediate_size=8), "weights of the right shape"),
    "no tokenizer": (
        lambda f, p: without(edited(f, p), "tokenizer.json"),
        "has no tokenizer, such as tokenizer.json",
    ),
}


def test_folders_that_cannot_be_opened_are_refused(folder: Path, tmp_path: Path) -> None:
    wrong = {}
    for name, (make, sentence) in REFUSED.items():
        place = make(folder, tmp_path / name.replace(" ", "_"))
        try:
            hugging_face(place, folder / "reviews.jsonl")
            wrong[name] = "opened"
        except PruningError as error:
            if sentence not in str(error) or "\n" in str(error):
                wrong[name] = str(error)
    assert wrong == {}


DATA = {
    "a.txt": ("good", "is none of .jsonl, .csv, .tsv"),
    "a.jsonl": ('{"text": "good", "label": "fine"}', "'fine', which is no class"),
    "b.jsonl": ('\n{"text": "good"}', "Line 2 of"),
    "c.jsonl": ("{", "is not valid JSON"),
    "d.jsonl": ("[1]", "is not an object"),
    "e.csv": ("text,label\n", "has no texts"),
    "f.csv": ("sentence,label\ngood,0\n", "has no 'text'; it has: sentence, label"),
    "g.jsonl": ('{"text": 3, "label": 0}', "is no text: 3"),
    "nothing.csv": (None, "There is no file"),
}


def test_data_that_cannot_be_read_is_refused_with_its_line(folder: Path, tmp_path: Path) -> None:
    for name, (content, sentence) in DATA.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        assert sentence in refusal(partial(hugging_face, folder / "bert", tmp_path / name))
    assert "no train.jsonl" in refusal(lambda: hugging_face(folder / "bert", tmp_path))
    pictures = tmp_path / "pictures"
    (pictures / "dog").mkdir(parents=True)
    (pictures / "neg").mkdir()
    assert "named after no class" in refusal(lambda: hugging_face(folder / "vit", pictures))


def test_without_the_extra_one_sentence_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pruning-explorer[transformers]" in refusal(
        lambda: hugging_face(folder / "bert", folder / "reviews.jsonl")
    )


def test_settings_that_the_folder_gives_are_refused_in_a_subject_file(folder: Path) -> None:
    for line, sentence in (
        ('classes = ["a", "b"]', "has classes, which the folder of the model gives"),
        ('arguments = { words = "text" }', "argument"),
        ('arguments = { length = "long" }', "argument length"),
    ):
        path = folder / "wrong.toml"
        path.write_text(f'[b]\nmodel = "hf:bert"\ndata = "reviews.jsonl"\n{line}\n')
        assert sentence in refusal(read_file(path)[0].open)


def test_texts_without_labels_have_the_dense_answers_as_targets(folder: Path) -> None:
    lines = "\n".join(json.dumps({"text": row["text"]}) for row in ROWS)
    (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
    path = folder / "unlabelled.toml"
    table = '[b]\nmodel = "hf:bert"\ndata = "texts.jsonl"\narguments = { label = "" }\n'
    path.write_text(table)
    space = read_file(path)[0].open()
    assert space.dataset.task.value_label == "agreement with the dense network"
    x, answers = next(space.dataset.test.batches(8))
    with torch.inference_mode():
        assert torch.equal(answers, logits(space.model, x).argmax(1))
    path.write_text(f'{table}task = "classification"\n')
    assert "its texts have no labels" in refusal(read_file(path)[0].open)

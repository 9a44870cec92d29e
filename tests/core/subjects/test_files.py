"""Subject files: what they may say, and how their mistakes are named."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.utils import prune

from pruning_core import open_workspace
from pruning_core.subjects import VARIABLE, read_subjects, subject_files, subjects
from pruning_core.subjects.weights import load_weights
from pruning_core.workspaces import datasets_of, known_datasets, known_models
from pruning_core.zoo import MODELS
from tests.core.toy import is_sentence, refusal
from tests.core.zoo.uploads.files import bomb, lying_header, old_pt, pt
from tests.third_party import write_package


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("package"), "files_package")


@pytest.fixture
def named(file: Path) -> Iterator[Path]:
    with subject_files([file]):
        yield file


def test_the_variable_names_files_inside_the_block_only(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[other]\nmodel = "a.b:c"\ndata = "a.b:d"', encoding="utf-8-sig")
    before = os.environ.get(VARIABLE)
    with subject_files([file]), subject_files([other, file]):
        assert os.environ[VARIABLE].split(os.pathsep) == [str(file), str(other)]
        assert [*subjects()][-1] == "other"
    assert os.environ.get(VARIABLE) == before
    assert "other" not in subjects()


def test_subjects_come_first_and_open_by_name(named: Path) -> None:
    assert list(known_models())[:2] == ["pictures", "looking"]
    assert known_models()["pictures"].label == "Somebody's classifier"
    assert [*known_models()][-len(MODELS) :] == list(MODELS)
    assert datasets_of("pictures") == ("pictures_data",)
    assert "pictures_data" in known_datasets()
    space = open_workspace("pictures", "pictures_data")
    assert [layer.name for layer in space.layers] == ["conv.weight", "head.weight"]
    assert (space.name, len(space.dataset.test)) == ("pictures", 60)
    again = open_workspace("pictures", "pictures_data")
    for x, y in zip(space.dataset.train.batches(90), again.dataset.train.batches(90), strict=True):
        assert torch.equal(x[1], y[1])
    assert "lenet5" in refusal(lambda: open_workspace("lenet", "digits"))


def test_errors_in_the_users_code_name_file_and_line(named: Path) -> None:
    nets = named.parent / "files_package" / "nets.py"
    lines = nets.read_text().splitlines()
    for name, words in (
        ("broken", "does_not_exist"),
        ("failing", 'raise RuntimeError("first line\\nsecond line")'),
    ):
        line = next(n for n, text in enumerate(lines, 1) if words in text)
        sentence = refusal(partial(open_workspace, name, f"{name}_data"))
        assert f"({nets}, line {line})" in sentence, sentence
    assert "needs --subject FILE." in refusal(lambda: open_workspace("absent", "absent_data"))
    assert "called 'pictures_data'" in refusal(lambda: open_workspace("pictures", "digits"))


MODEL = 'model = "a.b:c"\n'
DATA = 'data = "a.b:d"\n'
MISTAKES = {
    "x = 1": "must hold tables",
    "": "must hold tables",
    "[a]\nmodel = ": "not valid TOML",
    "[a]\n" + DATA: "has no model",
    "[a]\n" + MODEL: "has no data",
    '[a]\nmodel = "a.b"\n' + DATA: "my_package.my_module:name",
    '[a]\nmodel = "/a/b.py:c"\n' + DATA: "my_package.my_module:name",
    "[a]\nmodel = 3\n" + DATA: "'model' of [a]",
    '[a]\nmodle = "a.b:c"\n' + DATA: "did you mean 'model'?",
    "[resnet20]\n" + MODEL + DATA: "name of a network of the package",
    '["a b"]\n' + MODEL + DATA: "no name of a network",
    '["../a"]\n' + MODEL + DATA: "no name of a network",
    "[a]\n" + MODEL + DATA + "classes = [1]": "a list of texts",
    "[a]\n" + MODEL + DATA + "samples = true": "'samples' of [a]",
    "[a]\n" + MODEL + DATA + "embeddings = 1": "must be true or false",
    "[a]\n" + MODEL + DATA + "weights = ['a']": "'weights' of [a]",
    "[a]\n" + MODEL + DATA + 'weights = "a\\u0000b"': "is not a path: embedded null byte",
    "[a]\n" + MODEL + DATA + f'weights = "{"a" * 5000}"': "is not a path: File name too long",
    "[a]\n" + MODEL + DATA + "#" * 1_000_001: "is larger than 1,000,000 bytes",
}
OPENED = {
    '[a]\nmodel = "no_such_module_:c"\n' + DATA: "no_such_module_",
    "[a]\n" + MODEL + DATA + 'path = "nowhere"': "nowhere of 'path' does not exist",
    '[a]\nmodel = "json:loads"\n' + DATA: "Building the network by json:loads failed: TypeError",
    '[a]\nmodel = "json:decoder"\n' + DATA: "must be a function that builds",
    '[a]\nmodel = "builtins:dict"\n' + DATA: "is no nn.Module",
    '[a]\nmodel = "torch.nn:Identity"\ndata = "builtins:dict"': "gave no 'train'",
    '[a]\nmodel = "torch.nn:Identity"\ndata = "builtins:list"': "gave 0 parts",
    '[a]\nmodel = "torch.nn:Identity"\ndata = "builtins:dict"\n'
    "data_arguments = { train = 1, valid = 2 }": "called 'valid'; did you mean 'val'?",
    '[a]\nmodel = "torch.nn:Identity"\ndata = "no/folder"': "There is no folder of images",
    '[a]\nmodel = "torch.nn:Identity"\ndata = "."\ndata_arguments = { n = 1 }': "for a function",
    '[a]\nmodel = "hf:a"\ndata = "b.csv"\ndata_arguments = { n = 1 }': "write 'arguments'",
    '[a]\nmodel = "torch.nn:Identity"\nweights = "w.pt"\n' + DATA: "no file of weights",
}


def test_a_mistake_in_a_file_gives_one_sentence(tmp_path: Path) -> None:
    wrong = {}
    for text, words in (MISTAKES | OPENED).items():
        path = tmp_path / "mistake.toml"
        path.write_text(text)

        def use(path: Path = path) -> None:
            with subject_files([path]):
                open_workspace("a", "a_data")

        sentence = refusal(use)
        if words not in sentence or not is_sentence(sentence):
            wrong[text] = sentence
    assert not wrong


def test_a_file_that_cannot_be_used_leaves_the_others(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[pictures]\n" + MODEL + DATA)
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    known, problems = read_subjects([tmp_path / "none.toml", file, bad, pipe])
    assert {"pictures", "looking"} <= known.keys()
    assert len(problems) == 3
    assert "cannot be read" in problems[0]
    assert "names 'pictures' again" in problems[1]
    assert "is a folder or a device, not a file" in problems[2]


def test_weights_that_do_not_fit_are_named(file: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv.weight": torch.zeros(1)}}, tmp_path / "w.pt")
    (tmp_path / "words.pt").write_text("no weights")
    text = file.read_text().partition("[looking]")[0]
    sentences = []
    for name in ("w.pt", "words.pt"):
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace("pictures.safetensors", name) + f'path = "{file.parent}"\n')
        with subject_files([path]):
            sentences.append(refusal(lambda: open_workspace("pictures", "pictures_data")))
    assert "lacks conv.bias, head.bias, head.weight and 5 more" in sentences[0]
    assert "differs in conv.weight ((1,), the network has (6, 1, 3, 3))" in sentences[0]
    assert "cannot be read: the file is no safetensors, .pt or .npz file" in sentences[1]


def test_weights_beyond_their_file_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    state = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    network = torch.nn.Linear(3, 2)
    for content in (old_pt({"state_dict": state}), pt(state), save(state)):
        (tmp_path / "w").write_bytes(content)
        load_weights(network, tmp_path / "w")
        assert torch.equal(network.weight, state["weight"])
    old = old_pt({"weight": torch.rand(300)})
    cases = {
        "a lying header": (lying_header(), "is damaged"),
        "a bomb": (bomb(), "compressed, or its parts overlap"),
        "cut off": (pt(state)[:-40], "damaged"),
        "cut off, old": (old_pt(state)[:300], "damaged"),
        "cut off, safetensors": (save(state)[:-3], "is damaged"),
        "a lying number": (old.replace(b"M,\x01N", b"J\xff\xff\xff\x7fN"), "2,147,483,647 num"),
        "sparse": (pt({"weight": torch.eye(3).to_sparse()}), "holds sparse tensors"),
        "without values": (pt({"weight": torch.ones(2, device="meta")}), "without values"),
        "expanded": (pt({"weight": torch.ones(1).expand(10**6, 10**6)}), "differs in weight"),
        "no tensors": (pt({"weight": 3}), "no state_dict"),
    }
    wrong = {}
    for case, (content, words) in cases.items():
        (tmp_path / "w").write_bytes(content)
        sentence = refusal(lambda: load_weights(network, tmp_path / "w"))
        if words not in sentence or not is_sentence(sentence):
            wrong[case] = sentence
    assert not wrong


def test_another_package_of_the_same_name_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "nets.py").write_text("build = 3")
    (tmp_path / "s.toml").write_text('[a]\nmodel = "json.nets:build"\n' + DATA)
    with subject_files([tmp_path / "s.toml"]):
        assert "hides the one in" in refusal(lambda: open_workspace("a", "a_data"))


def test_weights_with_masks_fit_a_network_that_has_them_itself(tmp_path: Path) -> None:
    made = nn.Linear(4, 3)
    prune.l1_unstructured(made, "weight", 0.5)
    torch.save(made.state_dict(), tmp_path / "w")
    network = nn.Linear(4, 3)
    prune.identity(network, "weight")
    assert load_weights(network, tmp_path / "w").notes == ()
    assert all(map(torch.equal, network.state_dict().values(), made.state_dict().values()))

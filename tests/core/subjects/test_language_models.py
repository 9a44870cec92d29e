"""Causal language models of transformers in a folder: opened, scanned, and run by their script."""

import runpy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import masks_by_parameter, masks_safetensors, script_text
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.subjects.files import read_file
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.hugging_face import hugging_face
from pruning_core.types import Finished
from tests.core.toy import is_sentence, refusal

CPU = torch.device("cpu")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "the"]
TABLE = '[{name}]\nmodel = "hf:{name}"\ndata = "{data}"\narguments = {{ length = 12 }}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers  # 1 second in every process of the suite

    root = tmp_path_factory.mktemp("language_models")
    sizes: Any = {"vocab_size": 10, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None}
    llama: Any = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads: Any = {"num_attention_heads": 2, "max_position_embeddings": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gpt2 = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=16, **sizes)
        transformers.GPT2LMHeadModel(gpt2).save_pretrained(root / "gpt2")
        config = transformers.LlamaConfig(num_key_value_heads=1, **llama, **heads, **sizes)
        transformers.LlamaForCausalLM(config).save_pretrained(root / "llama")
        bert = transformers.BertConfig(vocab_size=10, is_decoder=False, **llama, **heads)
        transformers.BertLMHeadModel(bert).save_pretrained(root / "bert")
    for name in ("gpt2", "llama", "bert"):
        vocabulary = {word: number for number, word in enumerate(WORDS)}
        transformers.BertTokenizer(vocab=vocabulary).save_pretrained(root / name)
    generator = torch.Generator().manual_seed(0)
    words = [WORDS[5 + int(n)] for n in torch.randint(0, 5, (300,), generator=generator)]
    (root / "book.txt").write_text(" ".join(words))
    lines = [f'{{"text": "{" ".join(words[at : at + 3 + at % 7])}"}}' for at in range(0, 300, 9)]
    (root / "texts.jsonl").write_text("\n".join(lines))
    return root


def test_a_language_model_is_scanned_and_its_script_prints_the_figure(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in {"gpt2": "texts.jsonl", "llama": "book.txt"}.items():
        (folder / "s.toml").write_text(TABLE.format(name=name, data=data))
        space = read_file(folder / "s.toml")[0].open()
        assert space.dataset.task.name == "language_model"
        assert len(space.layers) > 3
        plan = Plan(name, f"{name}_data", probe=20, calibration=8, sparsity=0.5)
        plan = Plan.from_json(plan.to_json().replace('"epochs": 1', '"epochs": 0'))
        points = list(scan_plan(plan, space, (0.5,), device=CPU))
        pruned = [point for point in points if point.sparsity]
        assert len({point.parameter for point in pruned}) == len(space.layers), name
        *_, run = prune(plan, space, CPU)
        assert isinstance(run, Finished)
        masks = masks_by_parameter(run.masks, space.layers)
        (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
        script = script_text(plan, space, tuned=False)
        assert "from pruning_core" not in script
        (tmp_path / "load_masks.py").write_text(script)
        capsys.readouterr()
        runpy.run_path(str(tmp_path / "load_masks.py"), run_name="__main__")
        n = run.pruned.n
        line = f"perplexity {run.pruned.value:.6f} ({n} sequences)\n"
        assert capsys.readouterr().out == line, name


def test_the_perplexity_is_that_of_transformers(folder: Path) -> None:
    network, data = hugging_face(folder / "gpt2", folder / "book.txt", length=99)
    assert data["train"].inputs["input_ids"].shape[1] == 16  # as many as the model reads
    space = workspace(network, **data)
    found = Judge.of(space.dataset).evaluate(space.model, space.dataset.test, CPU)
    x, labels = next(space.dataset.test.batches(len(space.dataset.test)))
    assert isinstance(x, dict)
    with torch.inference_mode():
        loss = network(**x, labels=labels).loss
    assert found.value == pytest.approx(float(loss.exp()), rel=1e-5)


def test_models_that_see_the_next_token_and_other_files_are_refused(folder: Path) -> None:
    (folder / "texts.toml").write_text("")
    for name, data, words in (
        ("bert", "book.txt", "is no causal language model"),
        ("gpt2", "texts.toml", "is none of"),
        ("gpt2", "nothing.txt", "There is no file"),
    ):
        sentence = refusal(partial(hugging_face, folder / name, folder / data))
        assert words in sentence
        assert is_sentence(sentence)
    (folder / "a.toml").write_text(
        TABLE.format(name="gpt2", data="book.txt") + 'task = "token_agreement"\n'
    )
    space = read_file(folder / "a.toml")[0].open()
    judge = Judge.of(space.dataset)
    assert judge.evaluate(space.model, space.dataset.test, CPU).value == 1
    task = TABLE.format(name="gpt2", data="book.txt") + 'task = "classification"\n'
    (folder / "t.toml").write_text(task)
    assert "the task is language_model" in refusal(read_file(folder / "t.toml")[0].open)

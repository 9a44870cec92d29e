"""Help texts: one for every term that a page uses."""

import re
from pathlib import Path

import pytest

from explorer.texts.glossary_links import GLOSSARY, GLOSSARY_OF, glossary_link, with_one_link
from explorer.texts.help import HELP, TEXTS, entry_help
from explorer.texts.lessons.terms import TERMS
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import FLOWS

EXPLORER = Path(__file__).resolve().parents[3] / "explorer"


def test_every_term_of_a_page_has_a_help_text() -> None:
    sources = [path.read_text(encoding="utf-8") for path in EXPLORER.rglob("*.py")]
    terms = {
        term for source in sources for term in re.findall(r"""HELP\[["'](\w+)["']\]""", source)
    }
    assert len(terms) > 50
    assert terms <= HELP.keys()


@pytest.mark.parametrize("term", HELP)
def test_a_help_text_is_one_or_more_sentences(term: str) -> None:
    text, link = HELP[term].split("\n\n[Glossary]")
    assert link.startswith("(learn?glossary=")
    text = text.replace("\n\n", " ")
    assert text[0].isupper() or text[0].isdigit()
    assert text.endswith(".")
    assert "  " not in text


def test_help_leads_to_terms_that_the_glossary_has() -> None:
    assert GLOSSARY.keys() <= TERMS.keys()
    assert GLOSSARY_OF.keys() <= TEXTS.keys()
    assert with_one_link("One.", HELP["sparsity"], HELP["lr"]) == (
        f"One.\n\n{TEXTS['sparsity']}\n\n{TEXTS['lr']}\n\n{glossary_link('sparsity')}"
    )
    assert glossary_link("sparsity") == "[Glossary](learn?glossary=sparsity&lang=en)"


def test_the_help_of_an_entry_has_formula_source_and_cost() -> None:
    lamp = ALLOCATIONS["lamp"]
    text = entry_help("allocation", lamp)
    assert text.startswith(TEXTS["allocation"])
    assert f"`{lamp.formula}`" in text
    assert text.endswith(f"{lamp.source}\n\n{glossary_link('allocation')}")
    assert "passes: 1 forward" in entry_help("criterion", CRITERIA["wanda"])
    assert "passes:" in entry_help("flow", FLOWS["rounds"])

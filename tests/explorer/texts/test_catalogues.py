"""The catalogues have every text of the code, and what the app reads is made from them."""

import re

import pytest

from explorer.texts.extract import (
    Text,
    areas,
    compiled,
    marked,
    missing,
    templates,
    translations,
)
from explorer.texts.translate import FOLDER, LANGUAGES, PLACE, SOURCE, TEMPLATES

OTHERS = sorted(LANGUAGES.keys() - {SOURCE})


@pytest.fixture(scope="module")
def texts() -> dict[str, list[Text]]:
    """All texts of the code, by area."""
    return areas()


def test_no_text_lacks_a_translation(texts: dict[str, list[Text]]) -> None:
    for code in OTHERS:
        assert not missing(code, texts), "python -m explorer.texts.extract update; then translate"


def test_a_measurement_without_training_is_of_the_probe_on_every_page(
    texts: dict[str, list[Text]],
) -> None:
    """One name per split: only epochs of a training are measured on all validation samples."""
    own = [text for area, each in texts.items() if not area.startswith("core") for text in each]
    named = [
        str(text.key)
        for text in own
        if re.search(r"validation (images|\{samples\})", str(text.key))
    ]
    trained = [text for text in named if not re.search("probe (images|{samples})", text)]
    assert [re.findall("epochs?", text) for text in trained] == [["epoch"]], trained
    assert all("part of" in text or "among them" in text for text in set(named) - set(trained))


def test_a_translation_has_no_place_that_its_text_lacks() -> None:
    for code in OTHERS:
        for key, string in translations(code).items():
            forms = key if isinstance(key, tuple) else (key,)
            own = string if isinstance(string, tuple) else (string,)
            allowed = {name for form in forms for name in PLACE.findall(str(form))}
            assert {name for form in own for name in PLACE.findall(str(form))} <= allowed, key


def test_what_the_app_reads_is_up_to_date(texts: dict[str, list[Text]]) -> None:
    assert (FOLDER / TEMPLATES).read_text("utf-8") == templates(texts)
    for code in OTHERS:
        assert (FOLDER / code / "messages.mo").read_bytes() == compiled(code)


def test_an_f_string_in_a_mark_is_refused() -> None:
    code = 'a = _("one")\nb = f"{_(\'two\')}"\nc = _(f"{a} three")\n'
    found = marked(code, "module.py")
    assert [next(found).key, next(found).key] == ["one", "two"]
    with pytest.raises(ValueError, match=r"module.py:3: _\(\) needs a text with named places"):
        next(found)

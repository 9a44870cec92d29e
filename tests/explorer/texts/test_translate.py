"""Texts of the app and of the core in the page's language."""

import json
from collections.abc import Iterator

import pytest
from babel.numbers import format_decimal, format_percent

from explorer.session import page_language
from explorer.session.url import read
from explorer.texts import translate
from explorer.texts.help import HELP
from explorer.texts.run_words import field_words
from explorer.texts.translate import LANGUAGES, PLACE, _, from_core, in_a_row, language_of, n_

KNOWN = {
    "Layer '{0}' has {1} filters.": "层“{0}”有 {1} 个滤波器。",
    "It is left out: {0}.": "略去：{0}。",
    "From {a} to {b}, {a} first.": "从 {a} 到 {b}，先是 {a}。",
    "Kept ({0}): {1}.": "保留（{0}）：{1}。",
    "no weights": "没有权重",
    "{first} to {last}": "{first} 至 {last}",
    "Nothing of it is known.": "它是未知的。",
    ", ": "、",
    "": "a header",
    " and ": " 和 ",
}
"""The catalogue of a test."""


@pytest.fixture
def zh() -> Iterator[None]:
    translate.follow(lambda: "zh")
    yield
    translate.follow(page_language.language)


def test_english_is_the_text_itself() -> None:
    assert _("Language") == "Language"
    assert _("{n} of {total}", n=3, total=8) == "3 of 8"
    assert n_("{n} run", "{n} runs", 1) == "1 run"
    assert n_("{n} run", "{n} runs", 1200) == "1,200 runs"
    assert from_core("There is no criterion 'x'; did you mean 'y'?").startswith("There is")


def test_a_break_of_a_line_stays() -> None:
    assert translate.NO_SPACE.sub("", "一。 二。  \n三 四") == "一。二。  \n三四"


@pytest.mark.usefixtures("zh")
def test_texts_of_the_app_are_translated() -> None:
    assert _("Language") == "语言"
    assert _("No catalogue has this text.") == "No catalogue has this text."
    assert _("") == "", "the header of a catalogue is not a text"
    assert in_a_row(["层。", "", "Layer 'a' 层。", "有层。"]) == "层。Layer 'a' 层。有层。"


@pytest.mark.usefixtures("zh")
def test_values_of_a_sentence_of_the_core_stand_in_the_translation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Catalogue:
        def gettext(self, text: str) -> str:
            return KNOWN.get(text, text)

    monkeypatch.setattr(translate, "_catalogue", lambda code: Catalogue())
    patterns = [(key, translate.PLACE.split(key)) for key in KNOWN if "{" in key]
    monkeypatch.setattr(translate, "_templates", lambda: patterns)
    translate._from_core.cache_clear()
    assert from_core("Layer 'conv1' has 16 filters.") == "层“conv1”有 16 个滤波器。"
    assert from_core("Layer 'it' has 16 filters.") == "层“it”有 16 个滤波器。"
    both = from_core("Layer 'a.b' has 1 filters. It is left out: no weights.")
    assert both == "层“a.b”有 1 个滤波器。略去：没有权重。"
    assert from_core("It is left out: x. It is left out: y.") == "略去：x。略去：y。"
    assert from_core("From x to y, x first.") == "从 x 到 y，先是 x。"
    assert from_core("It is left out: nothing of it is known.") == "略去：它是未知的。"
    assert from_core("It is left out: a, b.c and no weights.") == "略去：a、b.c 和没有权重。"
    assert from_core("It is left out: one thing and two.") == "略去：one thing and two。"
    assert from_core("It is left out: .") == "略去：。"
    both = from_core("It is left out: no weights. It is left out: a.")
    assert both == "略去：没有权重。略去：a。", "no value holds the next sentence"
    assert from_core("Kept (a (b)): c.") == "保留（a (b)）：c。", "values with whole brackets"
    unknown = from_core("Something else. It is left out: no weights.")
    assert unknown == "Something else. 略去：没有权重。"
    assert from_core(" It is left out: no weights.") == " 略去：没有权重。"
    assert from_core("It is left out: [1, 2].") == "略去：[1, 2]。"
    assert from_core("from string to float") == "from string to float"
    assert from_core("1 to 3") == "1 至 3"
    translate._from_core.cache_clear()


@pytest.mark.usefixtures("zh")
def test_no_space_stands_between_chinese_words() -> None:
    assert _("sparsity {sparsity}", sparsity="50%") == "稀疏度 50%"
    assert _("{schedule}, {n} rounds", schedule="渐进", n=4) == "渐进，4 轮"
    assert _("{network} on {images}", network="网络", images="图像") == "图像上的网络"


def test_all_languages_write_numbers_in_the_same_way() -> None:
    assert len({format_decimal(-1234.5, locale=code) for code in LANGUAGES}) == 1
    assert len({format_percent(0.12, locale=code) for code in LANGUAGES}) == 1


def test_texts_that_are_kept_follow_the_language() -> None:
    (stored,) = read({"sparsity": "much"})[1]
    before = (field_words({}, "tied"), HELP["seed"], stored)
    translate.follow(lambda: "zh")
    after = (field_words({}, "tied"), HELP["seed"], from_core(stored))
    translate.follow(page_language.language)
    assert before[0] == "independent"
    assert after[0] == "各自独立"
    assert after[1] != before[1]
    assert after[2].startswith("地址中的“稀疏度”必须是数字，而不是“much”。")


def test_the_language_of_a_browser() -> None:
    assert [language_of(code) for code in ("zh-CN", "zh_TW", "ZH", "en-GB", "fr", "", None)] == [
        "zh",
        "zh",
        "zh",
        "en",
        "en",
        "en",
        "en",
    ]


@pytest.mark.usefixtures("zh")
def test_a_long_foreign_text_stays_english_and_takes_no_time() -> None:
    for piece in ("a: ", "Aa bb. ", "x y, ", "((a) (b)) "):
        text = (piece * 800)[:1500]
        assert from_core(text) == text


@pytest.mark.usefixtures("zh")
def test_a_point_in_a_number_ends_no_sentence() -> None:
    """Every template gives its own translation with such values, and so does a list of budgets."""
    templates = json.loads((translate.FOLDER / translate.TEMPLATES).read_text("utf-8"))
    for template in filter(PLACE.search, templates):
        text = PLACE.sub("12.5%", template)
        if len(text) <= translate.MOST_LETTERS:
            assert from_core(text) == translate._filled(
                _(template), dict.fromkeys(PLACE.findall(template), "12.5%")
            ), template
    budgets = "50.0% of the MACs (49.9% remain) and 30.0% of the parameters (29.9% remain)"
    assert from_core(f"Round 3 met the budget of {budgets}.") == (
        "第 3 轮达到了预算：MACs 的 50.0%（剩余 49.9%）和参数的 30.0%（剩余 29.9%）。"
    )

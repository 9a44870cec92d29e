"""The page Learn: every lesson in both languages, and links to the real pages.

The numbers of the lessons are computed by the core, or stored runs that are made again here. One
file, so that one process opens the network.
"""

import re
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.learn import granularity, one_step, search, seven, storage, subnets, why
from explorer.pages.learn.lesson import network
from explorer.pages.learn.lessons import LESSONS
from explorer.pages.learn.stored import stored
from explorer.pages.learn.two_layers import NAMES, two_layers
from explorer.session.url import PARAMS, read
from explorer.texts.lessons import Words, text, texts
from explorer.texts.lessons.terms import TERMS
from explorer.texts.translate import LANGUAGES
from tests.cases import check_each
from tests.explorer import driven
from tests.explorer.shown import english, shown

ONE_IMAGE = 1.5 / 359
"""Results of different processors may differ in the answer to an image."""
OWN_KEYS = {"closer", "filter"}
"""Parameters of pages that are not fields of a plan."""


def learn() -> None:
    """The page inside the app's navigation."""
    import streamlit as st

    from explorer.pages import LEARN, PAGES
    from explorer.pages.learn import page
    from explorer.session import page_language

    page_language.read_language()

    def empty() -> None:
        st.empty()

    pages = {path: st.Page(empty, title=title, url_path=path) for title, _, path in PAGES}
    pages[LEARN] = st.Page(lambda: page.render(pages), url_path=LEARN, default=True)
    st.navigation(list(pages.values()), position="top").run()


def opened(**address: str) -> AppTest:
    return driven.opened(learn, address)


def htmls(at: AppTest) -> list[str]:
    elements: list[Any] = list(at.get("html"))
    return [element.value for element in elements]


def figures(at: AppTest) -> int:
    return len(at.get("plotly_chart")) + sum("<div" in html for html in htmls(at))


def test_every_lesson_in_both_languages() -> None:
    at = opened(lang="en")

    def check(name: str, language: str) -> None:
        at.query_params["lesson"] = name
        at.query_params["lang"] = language
        driven.run(at)
        own = Words(language, name)
        assert any(own("title") in header.value for header in at.header)
        assert figures(at) == 1
        (slider,) = at.select_slider
        assert slider.label == own("drag")
        if language == "zh":
            slider.set_value(LESSONS[name].positions[-1])
            at.radio[0].set_value(1)
            driven.run(at)
            verdict = (at.success or at.info)[0].value
            assert any(own(f"answer{number}") in verdict for number in range(3))
            assert not [words for _, said in shown(at) for words in english(said)]
        words = re.sub(r"\$\$.*?\$\$", "", driven.text(at))
        assert not re.search(r"\{\w*\}", words), "a place has no value"
        links: list[Any] = list(at.get("page_link"))
        (link,) = links
        assert link.proto.label == own("link")
        opens = dict(parse_qsl(link.proto.query_string))
        assert set(opens) <= {*PARAMS, *OWN_KEYS}
        assert not read(opens)[1]

    check_each([(name, language) for name in LESSONS for language in LANGUAGES], check)


def test_the_list_opens_a_lesson_and_the_address_carries_it() -> None:
    at = opened(lesson="no such lesson", lang="zh", projector="1", glossary="mask")
    terms = [each.value for each in at.expander[0].markdown]
    assert text("terms.mask.label", "zh") in terms[0], "a help mark led to this term"
    assert len(terms) == len(TERMS)
    assert "no such lesson" in at.warning[0].value
    assert any("font-size" in html for html in htmls(at))
    assert text("page.title", "zh") == at.title[0].value
    at.button(key="open_storage").click()
    driven.run(at)
    assert at.query_params["lesson"] == "storage"
    driven.by_key(at, "learn_language").set_value("en")
    driven.run(at)
    assert at.query_params["lang"] == "en"
    assert any(text("storage.title", "en") in header.value for header in at.header)


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_tables_have_the_same_texts(language: str) -> None:
    mine = texts(language)
    english = texts("en")
    assert mine.keys() == english.keys()
    places = {key: set(re.findall(r"\{(\w+)\}", value)) for key, value in mine.items()}
    wanted = {key: set(re.findall(r"\{(\w+)\}", value)) for key, value in english.items()}
    assert places == wanted
    chinese = {key for key, value in mine.items() if re.search(r"[\u4e00-\u9fff]", value)}
    names = {key for key in mine if mine[key] == english[key]}
    assert chinese == (set() if language == "en" else mine.keys() - names)
    assert language == "en" or all(len(mine[key]) < 16 for key in names), "English in the table"


def test_every_pattern_meets_the_budget_of_zeros() -> None:
    for budget in granularity.BUDGETS:
        layers = granularity.pruned_layers(budget)
        assert all((~layer.kept).mean() == budget for layer in layers.values())
        magnitudes = {name: layer.magnitude for name, layer in layers.items()}
        assert max(magnitudes, key=magnitudes.__getitem__) == "fine"
        assert layers["filter"].outputs == round(8 * (1 - budget))
        assert layers["channel"].inputs == round(4 * (1 - budget))
        assert (
            layers["fine"].index_bits > layers["kernel"].index_bits > layers["channel"].index_bits
        )


def test_the_mask_stops_the_weight_and_the_gradient() -> None:
    every = one_step.steps()
    tune = every["tune"]
    assert (~tune.mask).sum() == 4
    assert not tune.after[~tune.mask].any()
    assert tune.gradient[~tune.mask].all(), "there is a gradient to stop"
    assert np.allclose(tune.after, tune.used - one_step.RATE * tune.gradient * tune.mask)
    assert np.array_equal(every["again"].weight, tune.after)
    assert not (every["again"].mask & ~tune.mask).any()


def test_every_format_gives_the_matrix_back() -> None:
    made = storage.stored(storage.small_matrix())
    assert np.array_equal(storage.read_back(made.relative), made.matrix)
    rows = zip(made.starts, made.starts[1:], strict=False)
    back = np.zeros_like(made.matrix)
    values = made.matrix[made.matrix != 0]
    for row, (start, end) in enumerate(rows):
        back[row, list(made.columns[start:end])] = values[start:end]
    assert np.array_equal(back, made.matrix)
    entry_bits = storage.VALUE_BITS + storage.GAP_BITS
    assert made.bits["relative"] == len(made.relative) * entry_bits
    assert made.bits["csr"] == 32 * (2 * len(made.columns) + len(made.starts))
    assert max(gap for gap, _ in made.relative) < 2**storage.GAP_BITS


def test_the_noise_factor_separates_two_weights_with_equal_sums() -> None:
    measured = seven.noise()
    shown = seven.pair(measured)
    assert abs(measured.plain[shown["steady"]] - measured.plain[shown["noisy"]]) < 0.05
    assert measured.factor[shown["steady"]] > 3 * measured.factor[shown["noisy"]]
    assert measured.seven[shown["steady"]] > measured.seven[shown["noisy"]]


def test_the_search_meets_its_budget() -> None:
    space = two_layers(network())
    for ratios in ((0.1, 0.2), (0.9, 0.3)):
        fitted = space.fitted(dict(zip(NAMES, ratios, strict=True)))
        assert space.cost(fitted) == pytest.approx(space.keep, abs=1e-6)


def test_stored_runs_are_what_the_code_gives() -> None:
    space = network()
    points = [why.Point(**point) for point in stored(why.RUN)["points"]]
    old = next(point for point in points if point.sparsity == 0.9)
    new = why.measure(space, old.sparsity)
    assert (new.dense, new.pruned) == pytest.approx((old.dense, old.pruned), abs=ONE_IMAGE)
    assert new.tuned == pytest.approx(old.tuned, abs=0.02)
    run = stored(search.RUN)
    for row, column in ((3, 17), (16, 8)):
        height = search.height(space, search.GRID[column], search.GRID[row])
        assert height == pytest.approx(run["landscape"][row][column], abs=ONE_IMAGE)
    first, second = search.path(space, 2)
    assert first["ratios"] == pytest.approx(run["path"][0]["ratios"])
    assert second["accuracy"] == pytest.approx(run["path"][1]["accuracy"], abs=ONE_IMAGE)
    (net,) = subnets.sample(space, 1)
    kept = subnets.SubNet(**stored(subnets.RUN)["subnets"][0])
    assert net.ratios == pytest.approx(kept.ratios)
    assert (net.before, net.after) == pytest.approx((kept.before, kept.after), abs=2 * ONE_IMAGE)


def test_the_stored_texts_are_true_of_the_stored_runs() -> None:
    """The right answers of questions about stored runs."""
    points = [why.Point(**point) for point in stored(why.RUN)["points"]]
    good = [point.sparsity for point in points if point.tuned > point.dense - 0.02]
    assert max(good) == 0.9
    run = stored(search.RUN)
    best = [candidate for candidate in run["path"] if candidate["best"]][-1]
    assert best["accuracy"] > run["uniform"]
    assert best["ratios"][0] < best["ratios"][1]
    order = subnets.order([subnets.SubNet(**one) for one in stored(subnets.RUN)["subnets"]])
    assert 0.2 < float(order["correlation"]) < 0.9
    assert order["place"] < 6

"""Sentences appear on the page as written: Markdown reads no part of them as markup."""

import pytest

from explorer.session.notices import plain


@pytest.mark.parametrize(
    ("sentence", "written"),
    [
        (
            "put train/CLASS/*.png and CLASS/*.png there",
            r"put train/CLASS/\*.png and CLASS/\*.png there",
        ),
        ("no model '[here](http://elsewhere)'", r"no model '[here\](http://elsewhere)'"),
        (
            "make it with `python -m pruning_core train *`",
            "make it with `python -m pruning_core train *`",
        ),
        ("7 is outside [0, 1]", "7 is outside [0, 1]"),
    ],
)
def test_markup_is_escaped_and_code_is_kept(sentence: str, written: str) -> None:
    assert plain(sentence) == written

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
        ("no model '[here](http://elsewhere)'", r"no model '[here\](`http://elsewhere`)'"),
        (
            "make it with `python -m pruning_core train *`",
            "make it with `python -m pruning_core train *`",
        ),
        ("7 is outside [0, 1]", "7 is outside [0, 1]"),
        ("no model ':red[x] ![](//y)'\n# title", r"no model ':red\[x] ![\](//y)' # title"),
    ],
)
def test_markup_is_escaped_and_code_is_kept(sentence: str, written: str) -> None:
    assert plain(sentence) == written


def test_the_path_of_the_image_folder_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", "/srv/data/flowers")
    assert plain("The folder /srv/data/flowers/train has no image.") == (
        "The folder train has no image."
    )
    assert plain("The folder /srv/data/flowers has no image.") == "The folder flowers has no image."

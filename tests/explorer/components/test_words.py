"""The texts that the scripts and the HTML of the components ask for are those that Python sends."""

import re

from explorer.components import layer_table, net_map
from explorer.components.layer_table.words import words as table_words
from explorer.components.mask_lab import component, source
from explorer.components.mask_lab.words import words as lab_words
from explorer.components.net_map.words import words as map_words
from tests.cases import for_each

LITERAL = r'(?:worded|pair)\("(\w+)"|data-words="(\w+)"'
PARTS = {
    "lab": (source("lab") + (component.FOLDER / "lab.html").read_text("utf-8"), lab_words()),
    "table": (
        layer_table.source() + (layer_table.FOLDER / "table.html").read_text("utf-8"),
        table_words(),
    ),
    "map": (net_map.source() + (net_map.FOLDER / "map.html").read_text("utf-8"), map_words()),
}


def test_a_layer_that_cannot_be_pruned_is_not_blamed_on_the_granularity() -> None:
    """The criterion can be the reason. The page has a sentence with the true one."""
    said = (lab_words()["no_groups"], map_words()["unprunable"])
    assert all("with these choices" in words for words in said)


@for_each(PARTS)
def test_every_text_that_is_asked_for_is_sent(part: str) -> None:
    script, sent = PARTS[part]
    asked = {first or second for first, second in re.findall(LITERAL, script)}
    attributes = {key.rpartition("_")[0] for key in sent if key.endswith(("_label", "_title"))}
    assert not asked - sent.keys() - attributes

"""A choice with labels of any language has the same name in every address."""

from streamlit.testing.v1 import AppTest


def boxes() -> None:
    import streamlit as st

    from explorer.session.address_choice import address_choice

    names = {1: "First", 2: "Second"}
    st.selectbox("Box", (1, 2), format_func="第 {}".format, **address_choice("box", names, 1))
    st.segmented_control("View", (1, 2), **address_choice("view", names, None))


def address(at: AppTest) -> dict[str, str]:
    return {
        key: texts if isinstance(texts, str) else texts[0] for key, texts in at.query_params.items()
    }


def test_an_address_has_the_names_of_choices_and_no_wrong_one() -> None:
    at = AppTest.from_function(boxes)
    at.query_params.update({"box": "Second", "view": "Third"})
    at.run()
    assert at.selectbox(key="box").value == 2
    assert at.selectbox(key="box").options == ["第 1", "第 2"]
    assert address(at) == {"box": "Second"}
    at.button_group(key="view").set_value(1).run()
    at.selectbox(key="box").set_value(1).run()
    assert address(at) == {"view": "First"}
    at.button_group(key="view").set_value(None).run()
    at.selectbox(key="box").set_value(2).run()
    assert address(at) == {"box": "Second"}

"""The canvas components, each alone on a page: ?part=mask_lab or ?part=net_map. One server serves
both.
"""

import gc

import streamlit as st


@st.cache_resource(show_spinner=False)
def keep_imports(part: str) -> None:
    """As the app does, once for the imports of each part (explorer/serving.py)."""
    gc.freeze()


part = str(st.query_params["part"])
st.navigation([st.Page(f"{part}_app.py", default=True)], position="hidden").run()
keep_imports(part)

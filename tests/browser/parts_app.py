"""The canvas components, each alone on a page: ?part=mask_lab or ?part=net_map. One server serves
both.
"""

import streamlit as st

part = st.Page(f"{st.query_params['part']}_app.py", default=True)
st.navigation([part], position="hidden").run()

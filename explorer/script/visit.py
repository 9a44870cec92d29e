"""The script that Streamlit runs for each visitor and each change; `app.py` serves it."""

from explorer.app import show

show()

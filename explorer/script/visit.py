"""The script that Streamlit runs for each visitor and each change; `app.py` serves it."""

from importlib import import_module

from explorer.serving import wait_for_imports

wait_for_imports()
import_module("explorer.app").show()

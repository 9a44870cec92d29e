"""The app that Streamlit serves. Start it with `make run` or with `pruning-explorer`."""

from pathlib import Path

from streamlit.starlette import App

from explorer import script
from explorer.first_paint import routes

app = App(Path(script.__file__).with_name("visit.py"), routes=routes())

"""The script that Streamlit runs. Start the app with `make run` or with `pruning-explorer`."""

from explorer.app import show

show()

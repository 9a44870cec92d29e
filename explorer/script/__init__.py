"""The script that Streamlit runs, in a folder of its own.

Streamlit takes a folder `pages` beside its script for a list of pages of its own. On a new server
it would say of every link that its page was not found.
"""

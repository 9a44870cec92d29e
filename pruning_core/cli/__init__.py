"""The command line `pruning`, one file per command."""

"""The methods against oracles: loops written from the papers and their released rules."""

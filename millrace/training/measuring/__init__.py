"""Measure any training command: what it prints is found out by looking, then it is run alone and beside other commands."""

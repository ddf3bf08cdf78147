"""Measuring how fast the project is: steps, cells and grids, beside floors and the usual way."""

"""Plotly figures from plain arrays: times in the chosen zone, gaps as gaps, units on the axes."""

"""Whose requests are slow: every attribute value and pair against the rest, at the same lengths.

`cells` is the population as exact counts, `association` the statistics of one comparison, `candidates` all
comparisons at once, `selection` which of them remain when the others are held constant, `scope` the
judgement, `answer` and `telling` its values and its words.
"""

"""SLO verdicts and alert states. Pure: facts, settings and an instant in, values out."""

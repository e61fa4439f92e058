"""The gateway before the engines: routing, prompt, budget, admission, streaming, fallback, spans, metrics."""

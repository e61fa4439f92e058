"""Traces in over OTLP/HTTP: one request row a trace, and the same bytes on to MLflow."""

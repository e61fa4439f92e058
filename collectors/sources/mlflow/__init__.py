"""Request rows from an MLflow server that keeps the traces already."""

"""Connectors to outside data, validation, Prefect flows and the command line."""

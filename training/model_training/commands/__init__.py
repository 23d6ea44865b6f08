"""One module per command of `model-train`: `run` turns parsed flags into the summary that is shown.

cli.py imports the one that is asked for: torch and mlflow take seconds to import.
"""

"""The CV Factory model server: loads one verified artifact and answers `/predict`."""

from importlib.metadata import version

__version__ = version("cv-factory")

"""The version of k9ops, at the bottom so that every room may name it."""

__version__ = "0.1.0"

"""A report without any queue: its definition, its rows, and the file that a person opens."""

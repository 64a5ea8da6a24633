"""A report as PDF: laid out by WeasyPrint in a process of its own."""

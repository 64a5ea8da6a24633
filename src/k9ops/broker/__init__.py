"""The one broker: its URL, its explicit middleware list, and our middleware."""

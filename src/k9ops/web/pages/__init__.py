"""The pages after the login, one module for each."""

"""PostgreSQL: connections, the application's tables as far as k9ops uses them, and k9ops' own."""

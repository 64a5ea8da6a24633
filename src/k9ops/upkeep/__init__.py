"""What keeps the application's tables in order: old notifications go."""

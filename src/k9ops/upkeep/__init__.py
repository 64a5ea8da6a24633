"""What keeps the application's tables in order: past schedules are locked, old notifications go."""

"""What was asked for, by whom, and how it ended: the truth about every run."""

"""The operator's command, `k9ops`."""

"""What `k9ops check` looks at, one module for each part of the service."""

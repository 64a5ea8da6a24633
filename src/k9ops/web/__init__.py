"""The dashboard: what the service did, is doing and will do, and the few things that a person may ask of it."""

"""Telling people what is wrong, once: rules, incidents, channels, and the watchman that goes its rounds."""

"""Google Drive v3 as far as k9ops uses it, over HTTP on loopback, with every fault at a test's wish."""

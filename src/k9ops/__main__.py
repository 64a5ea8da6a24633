"""`python -m k9ops` is the `k9ops` command."""

from k9ops.cli.main import main

if __name__ == "__main__":
    main()

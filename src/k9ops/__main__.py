"""`python -m k9ops` is the `k9ops` command."""

import gc
import sys

_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C is answered in one line even while the modules are still being loaded."""
    try:
        gc.disable()  # nothing of what is loaded is garbage, and looking for it takes a fifth of the time
        from k9ops.cli.main import main as run_command_line

        gc.freeze()
        gc.enable()
        run_command_line()
    except KeyboardInterrupt:
        sys.stderr.write("Error: Interrupted.\n")
        sys.exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()

"""Entry point of ``python -m microflow`` and of the program ``microflow``."""

import os
import signal

# Until a command runs there is nothing to clean up: Ctrl-C ends the process at once, without a traceback out of an
# import. The system's own action would do the same, but Polars puts a handler in its place that then does nothing.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))

from microflow.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()

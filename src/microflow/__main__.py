"""Entry point of ``python -m microflow`` and of the program ``microflow``."""

from microflow.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()

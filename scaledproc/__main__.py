"""The console script, also as `python -m scaledproc`."""

from scaledproc import starting


def main() -> None:
    """Load the command line and run it."""
    starting.load()
    from scaledproc.cli import main as command

    command()


if __name__ == "__main__":
    main()

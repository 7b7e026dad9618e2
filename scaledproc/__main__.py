"""The console script, also as `python -m scaledproc`."""

from scaledproc._util.process import startup
from scaledproc._util.process.streams import keep_streams


def main() -> None:
    """Load the command line and run it."""
    keep_streams()  # first: the next file that is opened would take the place of one that is closed
    startup.load()
    startup.begin()
    from scaledproc.cli.main import main as command

    command()


if __name__ == "__main__":
    main()

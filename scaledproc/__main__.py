"""`python -m scaledproc`."""

from scaledproc.cli import main

if __name__ == "__main__":
    main()

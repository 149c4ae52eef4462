"""``python -m etchmark``: the command line."""

from etchmark.commands.main import main

if __name__ == "__main__":
    main()

"""What the commands print. Imported when a command runs, so that ``--help`` loads none of it."""

"""The command line: the only part that knows a terminal and exit codes."""

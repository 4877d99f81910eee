"""The command line: stdout is data, stderr everything else, the exit code says which kind of failure it was."""

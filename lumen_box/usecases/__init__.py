"""What can be done with a box, one file a use case: the same for the command line, the console and the API."""

"""The chat in the terminal: Textual, over the client. Not built yet."""

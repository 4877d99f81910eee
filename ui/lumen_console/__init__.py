"""The operator's console: Textual, over the gateway's socket. Not built yet."""

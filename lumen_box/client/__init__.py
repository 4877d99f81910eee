"""The gateway from the other end: over its Unix socket, over TCP, or the same application inside this process.

Importing this costs nothing worth measuring: httpx is imported when a connection is made.
"""

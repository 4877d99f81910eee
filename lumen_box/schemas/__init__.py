"""What crosses the gateway's door: request and response types, event streams, and the names of errors.

Plain frozen dataclasses, so that a client installs without a validator. On the gateway's side the same classes are
checked strictly (``api/body.py``): an unknown member is refused, never ignored.
"""

"""Who may say what: TUF metadata with hybrid keys, roles, floors against rollback, revocations, trusted time.

Pure: nothing here reads or writes a disk, opens a connection or asks a clock. Bytes, keys and the time come in as
arguments; what was accepted, or an error with its reason, goes out.
"""

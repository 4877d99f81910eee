"""What is secret: one keyring under one key-encryption key (KEK), opened through any of several slots.

    recovery     the printed recovery code
    slots        what opens a vault, and how each slot holds the KEK
    keyring      the bytes of one copy
    store        the two copies on disk
    rotation     the same secrets under a new KEK, and the proof that they are
    vault        the door: get, change, slots, rotate, close

Whoever uses it asks for secrets by purpose and id and never sees the KEK.
"""

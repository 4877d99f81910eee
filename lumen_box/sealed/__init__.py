"""Cryptography lives here, and nowhere else: streams, envelopes, signatures, recipients, fingerprints.

Every construction is a published one, named in its module; every suite has a versioned name, and an unknown one is
refused instead of replaced. Nothing here touches the disk or the network.
"""

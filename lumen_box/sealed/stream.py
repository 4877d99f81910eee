"""Encrypted objects: C2SP chunked-encryption v1 in its Cobblestone-256 form.

    salt (24) ‖ commitment (32) ‖ chunk 0 ‖ chunk 1 ‖ … ‖ last chunk

Every chunk holds 16 KiB of plaintext and a 16-byte tag; the last one is always shorter than 16 KiB, and is there
even if it is empty, so a stream cut at a chunk's edge is noticed. The commitment is checked before anything is
decrypted: a stream fits exactly one key. Writing goes through ``cryptography.cobblestone``; reading at random is
done here, chunk by chunk, and agrees with it byte for byte.
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ..errors import Damaged, WrongKey

KEY = 32
SALT = 24
HEADER = 56
CHUNK = 16384
TAG = 16
STORED_CHUNK = CHUNK + TAG
MAX_CHUNKS = 2**38  # the specification's limit, 4 PiB
OBJECT_ID = 16
OBJECT_CONTEXT = b"lumen-box/object/v1"

_LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_NONCE = 12
_PIECE = 64 * 1024  # the encryptor is ten times slower when it is fed larger pieces


def new_key() -> bytes:
    """A fresh content key."""
    return secrets.token_bytes(KEY)


def object_context(object_id: bytes) -> bytes:
    """The context of the object with this id (16 random bytes)."""
    if len(object_id) != OBJECT_ID:
        raise ValueError("an object id has 16 bytes")
    return OBJECT_CONTEXT + object_id


def stored_size(plain: int) -> int:
    """How many bytes the stream of ``plain`` bytes of plaintext takes."""
    return HEADER + plain + TAG * (plain // CHUNK + 1)


def plain_size(stored: int) -> int:
    """How many bytes of plaintext a stream of ``stored`` bytes holds; ``Damaged`` if no stream is that long."""
    full, rest = divmod(stored - HEADER, STORED_CHUNK)
    if stored < HEADER + TAG or rest < TAG:
        raise Damaged(f"An encrypted object cannot be {stored} bytes long: it was cut short or added to.")
    if full >= MAX_CHUNKS:
        raise Damaged("An encrypted object is longer than the format allows.")
    return full * CHUNK + rest - TAG


class Encryptor:
    """Writes one stream: the bytes returned by every ``update`` and by ``finish``, in order."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._inner = Cobblestone256Encryptor(key, context)

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        view = memoryview(data).cast("B")
        pieces = (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))
        return b"".join([self._inner.update(piece) for piece in pieces])

    def finish(self) -> bytes:
        return self._inner.finalize()


def _expand(key: bytes, context: bytes, header: bytes) -> tuple[bytes, int, bool]:
    """The chunk key, the base nonce as an integer, and whether the header's commitment is the key's."""
    info = _LABEL + header[:SALT] + context
    material = HKDFExpand(SHA512(), KEY + _NONCE + 32, info).derive(key)
    nonce = int.from_bytes(material[KEY : KEY + _NONCE], "big")
    return material[:KEY], nonce, hmac.compare_digest(material[KEY + _NONCE :], header[SALT:HEADER])


def fits(key: bytes, context: bytes, header: bytes) -> bool:
    """Whether ``key`` is the key of the stream that begins with ``header`` (56 bytes)."""
    return len(key) == KEY and len(header) == HEADER and _expand(key, context, header)[2]


class RandomAccess:
    """Decrypts any run of whole chunks of one stream. It holds no position, and several threads may use it at once.

    Args:
        key: the content key, 32 bytes.
        context: what the stream was bound to when it was written.
        header: the first 56 bytes of the stream.
        stored_size: the length of the whole stream, header included.

    Raises:
        WrongKey: the key's commitment is not the stream's.
        Damaged: no stream has that length, or the header is cut short.
    """

    def __init__(self, key: bytes, context: bytes, header: bytes, stored_size: int) -> None:
        self.plain_size = plain_size(stored_size)
        self._last = self.plain_size // CHUNK
        self._last_stored = self.plain_size % CHUNK + TAG
        if len(header) != HEADER:
            raise Damaged("An encrypted object's header is cut short.")
        if len(key) != KEY:
            raise WrongKey("The content key does not have the right length.")
        chunk_key, self._nonce, right = _expand(key, context, header)
        if not right:
            raise WrongKey("The content key does not belong to this encrypted object.")
        self._aead = AESGCM(chunk_key)

    def decrypt(self, first_chunk: int, stored: memoryview, out: memoryview) -> int:
        """Decrypts the whole stored chunks in ``stored``, of which the first has number ``first_chunk``.

        The short chunk at the end of the stream counts as whole. Returns the number of bytes written to ``out``,
        which must have room for them. ``Damaged`` if a chunk is not the one that belongs there; ``out`` then holds
        nothing to be used.
        """
        written = 0
        for index, chunk in enumerate(self._split(first_chunk, stored), first_chunk):
            size = len(chunk) - TAG
            nonce = (self._nonce ^ index).to_bytes(_NONCE, "big")
            try:
                self._aead.decrypt_into(nonce, chunk, None, out[written : written + size])
            except InvalidTag:
                raise Damaged(f"Chunk {index} of an encrypted object is damaged.") from None
            written += size
        return written

    def _split(self, first: int, stored: memoryview) -> list[memoryview]:
        """The chunks in ``stored``, each checked to have the length that the stream's length gives it."""
        chunks = [stored[at : at + STORED_CHUNK] for at in range(0, len(stored), STORED_CHUNK)]
        last = first + len(chunks) - 1
        expected = STORED_CHUNK if last < self._last else self._last_stored
        if first < 0 or last > self._last or (chunks and len(chunks[-1]) != expected):
            raise Damaged("An encrypted object does not have the length that it should have.")
        return chunks

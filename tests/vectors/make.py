"""Writes the test vectors, by a second implementation of docs/format.md that shares no code with the first.

    python tests/vectors/make.py            writes tests/vectors/*.json beside this file
    python tests/vectors/make.py --check    says whether they are what they should be, and writes nothing

Only primitives are used here (AES-GCM, SHA-2, HMAC, ML-DSA, Ed25519, ML-KEM, X25519, HPKE, Argon2id), and everything
that is random in use is fixed. Signatures and sealed keys are random in themselves: of these, the vectors that are
already there are kept, and are checked by opening them. ``signatures.json`` comes from the draft's own vectors and is
never rewritten.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the test vectors.")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    makers = {
        "stream": stream,
        "fingerprint": fingerprint,
        "envelope": envelope,
        "passphrase": passphrase,
        "recipient": recipient,
        "recovery": recovery,
        "keyring": keyring,
    }
    wrong = [name for name, make in makers.items() if not _settle(HERE / f"{name}.json", make, check)]
    for name in wrong:
        sys.stderr.write(f"{name}.json is not what it should be\n")
    return 1 if wrong else 0


def _settle(path: Path, make: Any, check: bool) -> bool:
    before = json.loads(path.read_bytes()) if path.exists() else None
    text = json.dumps(make(before), indent=1) + "\n"
    if check:
        return path.exists() and path.read_text() == text
    path.write_text(text)
    return True


def fields(*parts: bytes | str) -> bytes:
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def pattern(size: int) -> bytes:
    """Bytes that look random and are always the same: SHA-256 of a counter, again and again."""
    blocks = (hashlib.sha256(u64(number)).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def hkdf_expand(key: bytes, info: bytes, size: int) -> bytes:
    out = block = b""
    for counter in range(1, size // 64 + 2):
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha512)
        out += block
    return out[:size]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return hkdf_expand(hmac.digest(salt, secret, hashlib.sha512), info, 32)


def encrypt_stream(key: bytes, salt: bytes, context: bytes, plain: bytes) -> bytes:
    material = hkdf_expand(key, b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context, 76)
    aead, base = AESGCM(material[:32]), int.from_bytes(material[32:44], "big")
    out = salt + material[44:]
    for index in range(len(plain) // 16384 + 1):
        chunk = plain[index * 16384 : (index + 1) * 16384]
        out += aead.encrypt((base ^ index).to_bytes(12, "big"), chunk, None)
    return out


def stream(_: Any) -> Any:
    key, salt = pattern(32), pattern(56)[32:]
    context = b"lumen-box/object/v1" + bytes(range(16))
    cases = []
    for size in (0, 1, 100, 16383, 16384, 16385, 32768, 50000):
        stored = encrypt_stream(key, salt, context, pattern(size))
        cases.append(
            {
                "plain_size": size,
                "stored_size": len(stored),
                "header": stored[:56].hex(),
                "last_tag": stored[-16:].hex(),
                "stored_sha256": hashlib.sha256(stored).hexdigest(),
            }
        )
    about = "plaintext: the first plain_size bytes of SHA-256(u64(0)) ‖ SHA-256(u64(1)) ‖ …"
    return {"about": about, "key": key.hex(), "salt": salt.hex(), "context": context.hex(), "cases": cases}


def fingerprint(_: Any) -> Any:
    cases = []
    for label, parts in (("a", []), ("a", [b""]), ("ab", [b"c"]), ("a", [b"bc"]), ("label", [b"one", b"two"])):
        digest = hashlib.sha256(fields(label, *parts)).digest()
        cases.append({"label": label, "parts": [part.hex() for part in parts], "hex": digest.hex()})
    spoken = [{"hex": raw.hex(), "words": spell(raw)} for raw in (bytes(32), bytes(range(32)), pattern(32))]
    return {"cases": cases, "spoken": spoken}


def spell(raw: bytes) -> str:
    words = json.loads((HERE / "words.json").read_bytes())
    return " ".join(words["odd" if place % 2 else "even"][byte] for place, byte in enumerate(raw))


def envelope(_: Any) -> Any:
    key, nonce, secret = pattern(32), pattern(44)[32:], b"a content key of thirty-two byte"
    cases = []
    for purpose, name, version, generation in (("content", "00" * 16, 1, 1), ("audit", "1", 2**40, 7)):
        aad = fields("lumen-box/envelope/v1", purpose, name, u64(version), u64(generation))
        wrapped = nonce + AESGCM(key).encrypt(nonce, secret, aad)
        label = {"purpose": purpose, "id": name, "version": version, "generation": generation}
        cases.append({"label": label, "aad": aad.hex(), "wrapped": wrapped.hex()})
    return {"key": key.hex(), "secret": secret.hex(), "cases": cases}


def argon(secret: bytes, salt: bytes, cost: list[int]) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=cost[0], memory_cost=cost[1], lanes=cost[2]).derive(secret)


def passphrase(_: Any) -> Any:
    salt = pattern(16)
    cases = [
        {"passphrase": secret.hex(), "cost": cost, "key": argon(secret, salt, cost).hex()}
        for secret, cost in ((b"correct horse", [1, 64, 1]), (b"\xff", [2, 64, 4]), (b"correct horse", [3, 65536, 4]))
    ]
    return {"salt": salt.hex(), "cases": cases}


SUITE_ID = "mlkem768-x25519-hkdf-sha384-aes256gcm"


def hybrid(seed: bytes) -> tuple[MLKEM768X25519PrivateKey, bytes]:
    """The private key and the bytes of the public one."""
    material = hashlib.shake_256(seed).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(material[:64])
    x25519 = X25519PrivateKey.from_private_bytes(material[64:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def hpke() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)


def recipient(before: Any) -> Any:
    seed, secret, object_id, box = pattern(32), pattern(64)[32:], bytes(range(16)), "0" * 64
    private, public = hybrid(seed)
    info = fields("lumen-box/recipient-info/v1", SUITE_ID, object_id, box, public)
    sealed = bytes.fromhex(before["sealed"]) if before else hpke().encrypt(secret, private.public_key(), info)
    if hpke().decrypt(sealed, private, info) != secret:
        raise SystemExit("the sealed key in recipient.json does not open")
    return {
        "seed": seed.hex(),
        "public": public.hex(),
        "key_id": hashlib.sha256(fields("lumen-box/recipient/v1", public)).hexdigest(),
        "object_id": object_id.hex(),
        "box_id": box,
        "info": info.hex(),
        "secret": secret.hex(),
        "sealed": sealed.hex(),
    }


def recovery(_: Any) -> Any:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    cases = []
    for secret in (bytes(25), bytes([255]) * 25, pattern(25)):
        bits = "".join(f"{byte:08b}" for byte in secret + hashlib.sha256(secret).digest()[:3])[:220]
        letters = "".join(alphabet[int(bits[at : at + 5], 2)] for at in range(0, 220, 5))
        cases.append({"secret": secret.hex(), "code": "-".join(letters[at : at + 4] for at in range(0, 44, 4))})
    return {"cases": cases}


VAULT, GENERATION, SEQUENCE = "ab" * 16, 3, 9
OPENERS: dict[str, Any] = {
    "passphrase": b"correct horse battery staple",
    "key-file": pattern(64),
    "recovery": "0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-C496",
}
SECRETS = [("audit", "1", 4, b"a"), ("content", "00" * 16, 9, pattern(32)), ("settings", "x", 5, b"")]


def keyring(before: Any) -> Any:
    """One whole copy, with a slot of each kind."""
    kek, nonce, stored = pattern(64)[32:], pattern(12), (before or {}).get("sealed", {})
    slots, entries, sealed = [], list(SECRETS), {}
    for number, (kind, secret) in enumerate(OPENERS.items()):
        slot, tag_key = keyring_slot(number, kind, secret, kek, stored.get(kind))
        sealed[kind] = slot["sealed"]
        slots.append(slot)
        entries.append(("slot", slot["id"], 1, tag_key))
    plain = b"".join(
        fields(purpose, name, u64(version), nonce + AESGCM(kek).encrypt(nonce, secret, aad(purpose, name, version)))
        for purpose, name, version, secret in sorted(entries)
    )
    header = {"generation": GENERATION, "sequence": SEQUENCE, "slots": slots, "vault": VAULT}
    prefix = b"lumen-box keyring 1\n" + json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    body_aad = aad("keyring", hashlib.sha256(prefix).hexdigest(), SEQUENCE)
    data = prefix + nonce + AESGCM(kek).encrypt(nonce, plain, body_aad)
    data += hashlib.sha256(data).digest()
    opens = {kind: secret if isinstance(secret, str) else secret.hex() for kind, secret in OPENERS.items()}
    entries_out = [[purpose, name, secret.hex()] for purpose, name, _, secret in SECRETS]
    facts = {"sequence": SEQUENCE, "generation": GENERATION, "kek": kek.hex(), "sealed": sealed}
    return {"opens": opens, "entries": entries_out, **facts, "file": data.hex()}


def aad(purpose: str, name: str, version: int) -> bytes:
    return fields("lumen-box/envelope/v1", purpose, name, u64(version), u64(GENERATION))


def keyring_slot(number: int, kind: str, secret: Any, kek: bytes, sealed: str | None) -> tuple[dict[str, Any], bytes]:
    name, label, created, salt = f"{number:016x}", f"slot {number}", "2026-01-02T03:04:05Z", pattern(16)
    cost = [1, 64, 1] if kind == "passphrase" else [0, 0, 0]
    if kind == "passphrase":
        root = argon(secret, salt, cost)
    else:
        root = hkdf(bytes(25) if kind == "recovery" else secret, salt, f"lumen-box/slot/{kind}/v1".encode())
    private, public = hybrid(hkdf_expand(root, b"lumen-box/slot/recipient/v1", 32))
    tag_key = hkdf_expand(root, b"lumen-box/slot/tag/v1", 32)
    info = fields("lumen-box/slot/kek/v1", VAULT, name, u64(GENERATION))
    raw = base64.b64decode(sealed) if sealed else hpke().encrypt(kek, private.public_key(), info)
    if hpke().decrypt(raw, private, info) != kek:
        raise SystemExit(f"the slot {kind} in keyring.json does not open")
    shown = [name, kind, label, created]
    vouched = fields("lumen-box/slot/v1", VAULT, *shown, salt, *map(u64, cost), public, u64(GENERATION), raw)
    slot: dict[str, Any] = dict(zip(("id", "kind", "label", "created"), shown, strict=True))
    slot |= {"public": base64.b64encode(public).decode(), "sealed": base64.b64encode(raw).decode()}
    slot |= {"salt": salt.hex(), "tag": hmac.digest(tag_key, vouched, hashlib.sha256).hex()}
    return slot | ({"cost": cost} if kind == "passphrase" else {}), tag_key


if __name__ == "__main__":
    sys.exit(main())

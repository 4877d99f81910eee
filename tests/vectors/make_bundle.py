"""Writes bundle.json: vectors for what a medium carries, by a second implementation that shares no code with Lumen Box.

    python tests/vectors/make_bundle.py [--check]

As in ``make.py``, from which the primitives come, signatures and sealed keys are random: those that are already there
are kept and checked by opening them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from make import SUITE_ID, encrypt_stream, fields, hpke, hybrid, pattern, spell

FILE = Path(__file__).parent / "bundle.json"
SIGNATURE_SUITE = "mldsa65-ed25519-sha512"
LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
OBJECT, CONTENT_KEY, PLAIN = bytes(range(16)), pattern(96)[64:], b"not a model, but encrypted like one"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the vectors of bundles.")
    parser.add_argument("--check", action="store_true")
    before = json.loads(FILE.read_bytes()) if FILE.exists() else {}
    value = {
        "slices": [slices(*case) for case in CASES],
        "manifest": manifest(),
        "enrolment": enrolment(before.get("enrolment")),
        "recipient": recipient(before.get("recipient")),
    }
    text = json.dumps(value, indent=1) + "\n"
    if parser.parse_args().check:
        return 0 if FILE.exists() and FILE.read_text() == text else 1
    FILE.write_text(text)
    return 0


CASES = [(1, 1, 1), (16383, 1, 1), (16384, 1, 1), (131172, 1, 3), (131172, 4, 2), (65536, 2, 2), (3 * 10**9, 4096, 32)]


def slices(size: int, segment_chunks: int, part_segments: int) -> dict[str, Any]:
    """By walking over the chunks one by one."""
    chunks = [16400] * (size // 16384) + [size % 16384 + 16]
    groups = [chunks[at : at + segment_chunks] for at in range(0, len(chunks), segment_chunks)]
    segments = [sum(group) + (56 if number == 0 else 0) for number, group in enumerate(groups)]
    parts = [sum(segments[at : at + part_segments]) for at in range(0, len(segments), part_segments)]
    return {
        "size": size,
        "segment_chunks": segment_chunks,
        "part_segments": part_segments,
        "stored_size": sum(segments),
        "segment_sizes": segments,
        "part_sizes": parts,
    }


def compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def manifest() -> dict[str, Any]:
    stored = encrypt_stream(CONTENT_KEY, pattern(24), b"lumen-box/object/v1" + OBJECT, PLAIN)
    template = "{{ messages[0]['content'] }}\n\u00e9"
    value = {
        "format": 1,
        "name": "clinical",
        "version": "1.0.0",
        "release": 3,
        "min_release": 2,
        "signed_at": "2026-11-23T09:00:00Z",
        "role": "chat",
        "architecture": "llama",
        "parameters": 170944,
        "context": 512,
        "quantisation": "Q8_0",
        "template": template,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "reasoning": ["<think>", "</think>"],
        "licence": "Apache-2.0",
        "card": "# Clinical\n",
        "objects": [
            {
                "id": OBJECT.hex(),
                "kind": "model",
                "suite": "c2sp-chunked-v1-aes256gcm",
                "size": len(PLAIN),
                "segment_chunks": 4096,
                "part_segments": 32,
                "segments": [hashlib.sha256(stored).hexdigest()],
            }
        ],
    }
    data = compact(value)
    digest = hashlib.sha256(data.encode()).hexdigest()
    return {
        "target": "models/clinical/1.0.0.json",
        "file": f"targets/models/clinical/{digest}.1.0.0.json",
        "bytes": data,
        "part-0001": stored.hex(),
        "plaintext": PLAIN.hex(),
    }


def enrolment(before: Any) -> dict[str, Any]:
    identity, audit = signer(pattern(64)), signer(pattern(128)[64:])
    recipient_seed = pattern(160)[128:]
    payload = compact(
        {
            "format": 1,
            "name": "Ward 7",
            "sequence": 2,
            "signature_suite": SIGNATURE_SUITE,
            "identity": public(identity).hex(),
            "audit": public(audit).hex(),
            "recipient_suite": SUITE_ID,
            "recipient": hybrid(recipient_seed)[1].hex(),
        }
    )
    message = b"CompositeAlgorithmSignatures2025" + LABEL
    context = b"lumen-box/enrolment/v1"
    message += bytes([len(context)]) + context + hashlib.sha512(payload.encode()).digest()
    if before:
        signature = bytes.fromhex(json.loads(before["file"])["signature"])
        identity[0].public_key().verify(signature[:3309], message, LABEL)
        identity[1].public_key().verify(signature[3309:], message)
    else:
        signature = identity[0].sign(message, LABEL) + identity[1].sign(message)
    fingerprint = hashlib.sha256(fields("lumen-box/signing-key/v1", SIGNATURE_SUITE, public(identity))).digest()
    return {
        "identity_seed": pattern(64).hex(),
        "audit_seed": pattern(128)[64:].hex(),
        "recipient_seed": recipient_seed.hex(),
        "name": "Ward 7",
        "sequence": 2,
        "box_id": fingerprint.hex(),
        "words": spell(fingerprint),
        "file": compact({"payload": payload, "signature": signature.hex()}) + "\n",
    }


Signer = tuple[MLDSA65PrivateKey, Ed25519PrivateKey]


def signer(seed: bytes) -> Signer:
    return MLDSA65PrivateKey.from_seed_bytes(seed[:32]), Ed25519PrivateKey.from_private_bytes(seed[32:])


def public(key: Signer) -> bytes:
    return key[0].public_key().public_bytes_raw() + key[1].public_key().public_bytes_raw()


def recipient(before: Any) -> dict[str, Any]:
    """The content key of the manifest's object, for the box of the enrolment."""
    box = enrolment(None)["box_id"]
    private, raw = hybrid(pattern(160)[128:])
    info = fields("lumen-box/recipient-info/v1", SUITE_ID, OBJECT, box, raw)
    if before:
        sealed = bytes.fromhex(json.loads(before["file"])["sealed"])
    else:
        sealed = hpke().encrypt(CONTENT_KEY, private.public_key(), info)
    if hpke().decrypt(sealed, private, info) != CONTENT_KEY:
        raise SystemExit("the sealed key in bundle.json does not open")
    return {
        "name": hashlib.sha256(fields("lumen-box/recipient/v1", raw)).hexdigest(),
        "content_key": CONTENT_KEY.hex(),
        "file": compact({"format": 1, "suite": SUITE_ID, "sealed": sealed.hex()}) + "\n",
    }


if __name__ == "__main__":
    sys.exit(main())

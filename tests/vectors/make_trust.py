"""Writes trust/: a small publisher's metadata, by a second implementation that shares no code with Lumen Box.

    python tests/vectors/make_trust.py [--check]

Two roots (the second has another root key and another timestamp key), two keys of which both must sign for targets,
one model, one piece of software, one revocation. Signatures are random: a file that is already there is kept if it
says what it should and its signatures hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from make import fields, pattern, spell

HERE = Path(__file__).parent / "trust"
LABEL, CONTEXT = b"COMPSIG-MLDSA65-Ed25519-SHA512", b"lumen-box/tuf/v1"
SUITE = "mldsa65-ed25519-sha512"
NAMES = ["root-1", "root-2", "timestamp-1", "timestamp-2", "snapshot", "targets-a", "targets-b", "models", "software"]
MODEL, SOFTWARE = "models/clinical/1.0.0.json", "software/lumen-box/1.1.0.json"
MODEL_BYTES, SOFTWARE_BYTES = b"not a manifest, but listed like one", b"nor is this"
SPEC, SOON, LATE = "1.0.31", "2027-12-28T09:00:00Z", "2029-11-23T09:00:00Z"
SIGNED_AT = "2026-11-23T09:00:00Z"


class Key:
    def __init__(self, name: str) -> None:
        self.seed = hashlib.sha512(name.encode()).digest()
        self.mldsa = MLDSA65PrivateKey.from_seed_bytes(self.seed[:32])
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(self.seed[32:])
        self.public = self.mldsa.public_key().public_bytes_raw() + self.ed25519.public_key().public_bytes_raw()
        self.id = hashlib.sha256(fields("lumen-box/signing-key/v1", SUITE, self.public)).hexdigest()

    @property
    def entry(self) -> dict[str, Any]:
        return {"keytype": "lumen-composite", "scheme": SUITE, "keyval": {"public": self.public.hex()}}

    def sign(self, payload: bytes) -> bytes:
        message = representative(payload)
        return self.mldsa.sign(message, LABEL) + self.ed25519.sign(message)

    def holds(self, signature: bytes, payload: bytes) -> bool:
        message = representative(payload)
        try:
            self.mldsa.public_key().verify(signature[:3309], message, LABEL)
            self.ed25519.public_key().verify(signature[3309:], message)
        except InvalidSignature:
            return False
        return True


def representative(payload: bytes) -> bytes:
    digest = hashlib.sha512(payload).digest()
    return b"CompositeAlgorithmSignatures2025" + LABEL + bytes([len(CONTEXT)]) + CONTEXT + digest


def canonical(value: Any) -> str:
    """Sorted keys, no blanks, only the quote and the backslash escaped."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return json.dumps(value)


def compact(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Maker:
    """Makes files below ``trust/``; with ``check`` it only notes which of them would change."""

    def __init__(self, check: bool) -> None:
        self.check, self.wrong = check, list[str]()
        self.keys = {name: Key(name) for name in NAMES}

    def file(self, name: str, data: bytes) -> bytes:
        path = HERE / name
        if not path.exists() or path.read_bytes() != data:
            self.wrong.append(name)
            if not self.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return data

    def signed(self, name: str, signed: dict[str, Any], signers: Iterable[str]) -> bytes:
        payload = canonical(signed).encode()
        keys = [self.keys[signer] for signer in signers]
        path = HERE / "metadata" / name
        if path.exists():
            before = json.loads(path.read_bytes())
            held = [(entry["keyid"], bytes.fromhex(entry["sig"])) for entry in before["signatures"]]
            same = before["signed"] == signed and [key.id for key in keys] == [keyid for keyid, _ in held]
            if same and all(key.holds(sig, payload) for key, (_, sig) in zip(keys, held, strict=True)):
                return path.read_bytes()
        signatures = [{"keyid": key.id, "sig": key.sign(payload).hex()} for key in keys]
        return self.file(f"metadata/{name}", compact({"signatures": signatures, "signed": signed}))

    def entries(self, *names: str) -> dict[str, Any]:
        return {self.keys[name].id: self.keys[name].entry for name in names}

    def role(self, *names: str) -> dict[str, Any]:
        return {"keyids": [self.keys[name].id for name in names], "threshold": len(names)}


def common(kind: str, version: int, expires: str = SOON) -> dict[str, Any]:
    return {"_type": kind, "spec_version": SPEC, "version": version, "expires": expires}


def root(make: Maker, version: int, top: str, timestamp: str, **more: str) -> dict[str, Any]:
    return common("root", version, LATE) | {
        "consistent_snapshot": True,
        "publisher": "Vector publisher",
        "keys": make.entries(top, timestamp, "snapshot", "targets-a", "targets-b"),
        "roles": {
            "root": make.role(top),
            "timestamp": make.role(timestamp),
            "snapshot": make.role("snapshot"),
            "targets": make.role("targets-a", "targets-b"),
        },
        **more,
    }


def listed(**files: bytes) -> dict[str, Any]:
    return {path: {"length": len(data), "hashes": {"sha256": digest(data)}} for path, data in files.items()}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def meta(version: int, data: bytes) -> dict[str, Any]:
    return {"version": version, "length": len(data), "hashes": {"sha256": digest(data)}}


def fingerprint(signed: dict[str, Any]) -> bytes:
    return hashlib.sha256(fields("lumen-box/root/v1", canonical(signed).encode())).digest()


def delegations(make: Maker) -> dict[str, Any]:
    roles = [
        {"name": name, "paths": [f"{name}/*/*.json"], "terminating": True, **make.role(name)}
        for name in ("models", "software")
    ]
    return {"keys": make.entries("models", "software"), "roles": roles}


def revocations(make: Maker) -> bytes:
    bundle = {"path": "models/clinical/0.9.0.json", "reason": "Wrong doses.", "stop": True}
    value = {"format": 1, "bundles": [bundle], "objects": [], "boxes": []}
    return make.file("targets/revocations.json", compact(value))


def everything(make: Maker) -> None:
    first = root(make, 1, "root-1", "timestamp-1")
    identity = fingerprint(first)
    second = root(make, 2, "root-2", "timestamp-2", publisher_id=identity.hex())
    make.signed("1.root.json", first, ["root-1"])
    make.signed("2.root.json", second, ["root-1", "root-2"])
    models = common("targets", 4) | {"targets": listed(**{MODEL: MODEL_BYTES})}
    software = common("targets", 3) | {"targets": listed(**{SOFTWARE: SOFTWARE_BYTES})}
    targets = common("targets", 2) | {
        "targets": listed(**{"revocations.json": revocations(make)}),
        "delegations": delegations(make),
    }
    files = {
        "targets": meta(2, make.signed("2.targets.json", targets, ["targets-a", "targets-b"])),
        "models": meta(4, make.signed("4.models.json", models, ["models"])),
        "software": meta(3, make.signed("3.software.json", software, ["software"])),
    }
    snapshot = common("snapshot", 6) | {"meta": {f"{role}.json": entry for role, entry in files.items()}}
    held = make.signed("6.snapshot.json", snapshot, ["snapshot"])
    timestamp = common("timestamp", 9) | {"signed_at": SIGNED_AT, "meta": {"snapshot.json": meta(6, held)}}
    make.signed("timestamp.json", timestamp, ["timestamp-2"])
    parts = {"root": second, "timestamp": timestamp, "snapshot": snapshot}
    parts |= {"targets": targets, "models": models, "software": software}
    make.file("expected.json", json.dumps(expected(make, [first, second], parts), indent=1).encode() + b"\n")


def expected(make: Maker, roots: list[dict[str, Any]], parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    owners = {role: [role] for role in parts} | {"root": ["root-2"], "timestamp": ["timestamp-2"]}
    owners["targets"] = ["targets-a", "targets-b"]
    floors = {
        "format": 1,
        "releases": {},
        "roles": {
            role: {
                "version": signed["version"],
                "digest": digest(canonical(signed).encode()),
                "keys": sorted(make.keys[name].id for name in owners[role]),
            }
            for role, signed in parts.items()
        },
        "signed_at": SIGNED_AT,
    }
    spoken = [fingerprint(signed) for signed in roots]
    return {
        "keys": {name: {"seed": key.seed.hex(), "id": key.id} for name, key in make.keys.items()},
        "publisher_id": spoken[0].hex(),
        "roots": [{"fingerprint": raw.hex(), "words": spell(raw)} for raw in spoken],
        "canonical_timestamp": canonical(parts["timestamp"]),
        "targets": {
            MODEL: digest(MODEL_BYTES),
            SOFTWARE: digest(SOFTWARE_BYTES),
            "revocations.json": parts["targets"]["targets"]["revocations.json"]["hashes"]["sha256"],
        },
        "floors": compact(floors).decode(),
        "cases": cases(floors),
    }


def cases(floors: dict[str, Any]) -> list[dict[str, Any]]:
    """Floors that a box might have, and the exit code with which it meets this metadata (0: accepted)."""
    other = pattern(32).hex()

    def case(what: str, code: int, role: str, root_version: int = 2, **new: object) -> dict[str, Any]:
        changed = json.loads(json.dumps(floors))
        if root_version != 2:
            changed["roles"]["root"].update(version=root_version, digest=other)
        changed["roles"][role].update(new)
        return {"what": what, "floors": compact(changed).decode(), "code": code}

    return [
        {"what": "nothing seen", "floors": '{"format":1,"releases":{},"roles":{}}', "code": 0},
        case("the same seen", 0, "models"),
        case("older seen", 0, "models", version=3, digest=other),
        case("newer models seen", 21, "models", version=5),
        case("newer root seen", 21, "root", version=3),
        case("newer root with other keys seen", 21, "root", version=3, keys=[other]),
        case("other models of the same version seen", 20, "models", digest=other),
        case("other root of the same version seen", 20, "root", digest=other),
        case("newer models of another key seen under this root", 21, "models", version=5, keys=[other]),
        case("newer models of another key seen under the root before", 0, "models", 1, version=5, keys=[other]),
        case("newer models of this key seen under the root before", 21, "models", 1, version=5),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the vectors of trust.")
    parser.add_argument("--check", action="store_true")
    make = Maker(parser.parse_args().check)
    everything(make)
    if make.check:
        sys.stderr.writelines(f"trust/{name} is not what it should be\n" for name in make.wrong)
    return 1 if make.check and make.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

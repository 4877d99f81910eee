"""Every change of the tables, in order, never edited once released: migrations expand first."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("lumen_box")


@migrations()
def models_and_tokens(db: Database) -> None:
    db.table("models").create(
        {
            "publisher": str,
            "name": str,
            "version": str,
            "object": str,
            "release": int,
            "role": str,
            "installed_at": str,
        },
        pk=("publisher", "name", "version"),
        not_null={"object", "release", "role", "installed_at"},
        strict=True,
    )
    db.table("active").create(
        {"publisher": str, "name": str, "version": str, "previous": str, "activated_at": str},
        pk=("publisher", "name"),
        not_null={"version", "activated_at"},
        strict=True,
    )
    db.table("defaults").create({"role": str, "publisher": str, "name": str}, pk="role", strict=True)
    db.table("tokens").create(
        {
            "id": str,
            "digest": str,
            "name": str,
            "scopes": str,
            "created_at": str,
            "created_by": str,
            "expires_at": str,
            "last_used": str,
            "revoked_at": str,
        },
        pk="id",
        not_null={"digest", "name", "scopes", "created_at", "created_by"},
        strict=True,
    )
    db.table("tokens").create_index(["digest"], unique=True)

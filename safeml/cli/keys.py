"""`safeml keys`: the keys that sign bundles, and how commands get at them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.paths import check_name
from safeml.errors import ConfigError, InputRefused, MissingInput

if TYPE_CHECKING:
    from safeml.bundle.build import Sign
    from safeml.edge.settings import Key

PASSWORD = "SAFEML_KEY_PASSWORD"

app = typer.Typer(
    no_args_is_help=True, help="Make and show the keys that sign bundles.", rich_markup_mode=None
)


@dataclass(frozen=True)
class Signer:
    """What signs a bundle.

    sign: returns the envelope of a statement.
    keys: the public keys; none for an unsigned bundle.
    """

    sign: Sign
    keys: tuple[Key, ...]


def signer(paths: Sequence[Path], unsigned: bool) -> Signer:
    """Read the keys, before any work."""
    from safeml.bundle import signing
    from safeml.edge.settings import Key

    if unsigned:
        if paths:
            raise ConfigError("--unsigned and --key contradict each other; remove one of them.")
        return Signer(signing.unsigned, ())
    if not paths:
        raise ConfigError(
            "there is no key to sign with; name one with --key, or make a trial with --unsigned."
        )
    loaded = [signing.load_key(path, password_of(path)) for path in paths]
    public = [signing.public_bytes(key) for key in loaded]
    return Signer(
        lambda statement: signing.sign(statement, loaded),
        tuple(Key(signing.key_id(each), each) for each in public),
    )


def password_of(path: Path) -> str:
    """Return the password of a key: of the environment, else asked for where a person can answer; "" for a plain key."""
    try:
        encrypted = b"ENCRYPTED" in _head(path)
    except OSError:
        return ""  # reading it again says what is the matter
    if not encrypted:
        return ""
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        raise ConfigError(f"{path}: is encrypted; set its password in {PASSWORD}.")
    return str(typer.prompt(f"Password of {path}", hide_input=True, err=True))


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(200)


def public_keys(paths: Sequence[Path]) -> list[Key]:
    from safeml.bundle.reading import refusals
    from safeml.edge.settings import Key, key_id, read_key

    result = []
    for path in paths:
        if not path.is_file():
            raise MissingInput(f"{path}: there is no such key; expected a public key of `safeml keys new`.")
        with refusals(path):
            public = read_key(str(path))
        result.append(Key(key_id(public), public, file=str(path)))
    return result


@app.command("new")
def new_key(
    path: Annotated[
        Path, typer.Argument(help="The private key to write; the public one gets .pub behind its name.")
    ],
    plain_file: Annotated[
        bool, typer.Option("--no-password", help="Leave the file unencrypted, for a store that encrypts it.")
    ] = False,
) -> None:
    """Make an Ed25519 key. Keep the private file outside of every repository, and give the public one to the devices."""
    from safeml.bundle import signing

    check_name(path)
    if plain_file:
        password = ""
    elif PASSWORD in os.environ:
        password = os.environ[PASSWORD]
    elif sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise ConfigError(
            f"the key has no password; set {PASSWORD}, or leave the file unencrypted with --no-password."
        )
    if not password and not plain_file:
        raise ConfigError("the password is empty; set one, or leave the file unencrypted with --no-password.")
    key = signing.generate_key(path, password)
    typer.echo(f"{path} written; the public key is {path}.pub")
    typer.echo(f"Key id: {signing.key_id(signing.public_bytes(key))}")


@app.command("show")
def show_key(
    path: Annotated[Path, typer.Argument(help="A public key, or a private one of `safeml keys new`.")],
) -> None:
    """Print the id of a key, to compare with `safeml-edge keys` on the device."""
    from safeml.bundle import signing

    check_name(path)
    try:
        private = b"PRIVATE KEY" in _head(path)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such key; make one with `safeml keys new {path}`.") from None
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror}).") from None
    if private:
        public = signing.public_bytes(signing.load_key(path, password_of(path)))
        typer.echo(signing.key_id(public))
    else:
        typer.echo(public_keys([path])[0].keyid)

"""Files from an HTTPS server, with a length that is known beforehand, resumed where the server allows it.

Certificates are checked against the trust store of the system. A redirect to another scheme is refused. Nothing that comes over the
network is trusted: a bundle is verified after it is complete.
"""

import errno
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Optional

from .durable import remove, write_whole
from .errors import EdgeError, Refused

TIMEOUT = 30.0
CHUNK = 1 << 16
TRIES = 3
REDIRECTS = 5
# A download may take this long, and one second more for each so many bytes.
PATIENCE, SLOWEST_BYTES = 120.0, 2048
# What no second attempt mends: the disk of the device is full or fails.
OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})\Z")
PART, ABOUT = ".part", ".part.json"
MOST_ABOUT = 4096


class Https:
    """Reads files below one address. plain_loopback: permits http to this machine, for tests. context: TLS settings, for tests."""

    def __init__(
        self,
        address: str,
        plain_loopback: bool = False,
        context: Optional[ssl.SSLContext] = None,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.plain_loopback, self.timeout, self.sleep = plain_loopback, timeout, sleep
        self.check(address)
        self.address = address.rstrip("/") + "/"
        opener = urllib.request.OpenerDirector()
        handlers = [  # no handler of file:, ftp: or data:
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(context=context or _tls()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(self),
        ]
        if plain_loopback:
            handlers.append(urllib.request.HTTPHandler())
        for handler in handlers:
            opener.add_handler(handler)
        self.opener = opener

    def check(self, address: str) -> None:
        """Raise Refused("source") for an address that is no https address without a password."""
        try:
            parts = urllib.parse.urlsplit(address)
            host = parts.hostname
        except ValueError:
            parts, host = urllib.parse.urlsplit(""), None
        plain = self.plain_loopback and parts.scheme == "http" and host in LOOPBACK
        if not host or not (parts.scheme == "https" or plain):
            raise Refused("source", f"the address {address[:100]!r} is not https; nothing is read from it.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise Refused(
                "source",
                f"the address of {host} holds a user name, a password, a query or a fragment; write the folder alone.",
            )

    def read(self, name: str, most_bytes: int) -> Optional[bytes]:
        """Return a small file, or None where the server has none. Raises Refused("source") for a longer one, EdgeError for a failure."""
        try:
            with self._open(name, {}) as answer:
                return self._small(answer, name, most_bytes)
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            raise self._failure(name, error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(name, error) from None

    def fetch(self, name: str, length: int, folder: str) -> str:
        """Download a file of exactly `length` bytes to `folder` and return its path; a download that broke off is continued."""
        path = os.path.join(folder, name)
        attempt = 0
        while True:
            attempt += 1
            try:
                self._continue(name, length, path)
                os.replace(path + PART, path)
                remove(path + ABOUT)
                return path
            except urllib.error.HTTPError as error:
                if error.code < 500 or attempt == TRIES:
                    raise self._failure(name, error) from None
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in OWN_DISK or attempt == TRIES:
                    raise self._failure(name, error) from None
            self.sleep(2.0 ** (attempt - 1))

    def _open(self, name: str, headers: dict) -> Any:
        address = self.address + urllib.parse.quote(name)
        every = {"Accept-Encoding": "identity", "User-Agent": "safeml-edge", **headers}
        answer = self.opener.open(urllib.request.Request(address, headers=every), timeout=self.timeout)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            answer.close()
            raise Refused(
                "source", f"the server sends {name} packed, so that its length is not known beforehand."
            )
        return answer

    def _small(self, answer: Any, name: str, most_bytes: int) -> bytes:
        data, deadline = b"", time.monotonic() + PATIENCE
        while len(data) <= most_bytes:
            piece = answer.read1(CHUNK)
            if not piece:
                return data
            data += piece
            if time.monotonic() > deadline:
                raise EdgeError(f"the server took too long to send {name}; try again later.")
        raise Refused("source", f"{name} on the server has more than {most_bytes:,} bytes.")

    def _continue(self, name: str, length: int, path: str) -> None:
        begin, validator = self._resumable(name, length, path)
        headers = {"Range": f"bytes={begin}-", "If-Range": validator} if begin else {}
        with self._open(name, headers) as answer:
            if answer.status == 206 and begin:
                match = RANGE.match(answer.headers.get("Content-Range", ""))
                expected = (begin, length - 1, length)
                if match is None or tuple(int(part) for part in match.groups()) != expected:
                    remove(path + PART)
                    raise EdgeError(f"the server continued {name} at another place; try again.")
            elif answer.status == 200:
                begin = 0
            else:
                raise EdgeError(f"the server answered {answer.status} for {name}; expected 200.")
            promised = answer.headers.get("Content-Length", "")
            if promised != str(length - begin):
                promised = promised[:20] or "no length"
                raise Refused(
                    "source",
                    f"the server promises {promised} for {name}; expected {length - begin:,} bytes as in its index.",
                )
            if not begin:
                remove(path + PART)
                about = {
                    "address": self.address + name,
                    "bytes": length,
                    "validator": _validator(answer.headers),
                }
                write_whole(path + ABOUT, json.dumps(about).encode("ascii"))
            self._copy(answer, name, length, begin, path + PART)

    def _copy(self, answer: Any, name: str, length: int, begin: int, path: str) -> None:
        deadline = time.monotonic() + PATIENCE + (length - begin) / SLOWEST_BYTES
        with open(path, "ab") as stream:
            stream.truncate(begin)
            while begin < length:
                piece = answer.read1(min(CHUNK, length - begin))
                if not piece:
                    raise http.client.IncompleteRead(b"", length - begin)
                stream.write(piece)
                begin += len(piece)
                if begin < length and time.monotonic() > deadline:
                    raise EdgeError(
                        f"the server took too long to send {name}; the next attempt continues it."
                    )
            stream.flush()
            os.fsync(stream.fileno())

    def _resumable(self, name: str, length: int, path: str) -> tuple:
        """Return how many bytes of the same file are already here, and what the server called its version; (0, "") for none."""
        try:
            with open(path + ABOUT, "rb") as stream:
                about = json.loads(stream.read(MOST_ABOUT).decode("ascii"))
            size = os.path.getsize(path + PART)
            validator = about["validator"]
            same = about["address"] == self.address + name and about["bytes"] == length
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
        if not same or not isinstance(validator, str) or not validator or not 0 < size < length:
            return 0, ""
        return size, validator

    def _failure(self, name: str, error: Exception) -> EdgeError:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        code = getattr(error, "code", None)
        said = f"status {code}" if code else str(reason)[:200]
        return EdgeError(
            f"{name} cannot be read from {self.address}: {said}; check the address and the network."
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the same scheme alone."""

    max_redirections = REDIRECTS

    def __init__(self, source: Https) -> None:
        self.source = source

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        parts = urllib.parse.urlsplit(newurl)
        same = parts.scheme == urllib.parse.urlsplit(req.full_url).scheme
        if not same:
            raise Refused("source", f"the server redirects to {parts.scheme}; expected https.")
        self.source.check(urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _tls() -> ssl.SSLContext:
    """Return the settings of the system's trust store, from TLS 1.2 on."""
    context = ssl.create_default_context()
    if hasattr(context, "minimum_version"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:  # Python 3.6
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    return context


def _validator(headers: Any) -> str:
    """Return what names this version of the file: a strong ETag, else the date of the last change, else ""."""
    tag = headers.get("ETag", "")
    text = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    return text if len(text) <= 200 and text.isprintable() else ""

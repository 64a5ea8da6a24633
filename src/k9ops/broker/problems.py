"""What Redis' refusals mean, and what to do about them: the one place that reads redis-py's errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import redis

from k9ops.errors import BrokerUnavailable

_MANUAL = "docs/operations.md has the list"
_CLIENT = " (?ssl_certfile=…&ssl_keyfile=…)."


def broker_unavailable(error: BaseException, otherwise: str) -> BrokerUnavailable:
    """Return the error to raise for one of redis-py's.

    Args:
        error: It.
        otherwise: What a person is told when the reason is none that a setting can mend.
    """
    return BrokerUnavailable(explain_redis(error) or otherwise, problem=str(error))


def explain_redis(error: BaseException) -> str | None:
    """Return what refuses, and what to do, when a setting is wrong; None when Redis is just away.

    Never with the URL or its parts that are secret.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, redis.exceptions.NoPermissionError):
            return f"Redis does not allow its user what k9ops needs: add it to the user's ACL rules ({_MANUAL})."
        if isinstance(cause, redis.AuthenticationError):
            return "Redis refuses the user name or password: correct REDIS_URL and those that override it."
        if isinstance(cause, ssl.SSLCertVerificationError):
            return explain_verification(
                cause,
                whose="Redis'",
                url="REDIS_URL",
                remedy="set K9OPS_REDIS_CA_FILE to its authority's certificate",
            )
    words = " ".join(str(cause) for cause in causes)
    if "CERTIFICATE_REQUIRED" in words or "EOF occurred in violation of protocol" in words:
        return "Redis ends the TLS connection: if it asks for a client certificate, name one in REDIS_URL" + _CLIENT
    if any(word in words for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "handshake operation timed out")):
        return "Redis does not speak TLS on this port: write redis:// in REDIS_URL, or name its TLS port."
    return None


def explain_verification(error: ssl.SSLCertVerificationError, *, whose: str, url: str, remedy: str) -> str:
    """Return why the certificate of a server is refused, and what to do.

    Args:
        error: What was raised.
        whose: The server's name, as before what it owns.
        url: The variable that names it.
        remedy: What to do when its authority is not known.
    """
    reason = error.verify_message.rstrip(".")
    if "ostname mismatch" in reason or "IP address mismatch" in reason:
        return f"{whose} certificate is for another host ({reason}): name in {url} the host that it is for."
    if "expired" in reason or "not yet valid" in reason:
        return f"{whose} certificate is out of date ({reason}): renew it, or set the clocks."
    return f"{whose} certificate is not trusted ({reason}): {remedy}."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

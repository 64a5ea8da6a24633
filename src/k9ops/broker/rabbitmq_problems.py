"""What RabbitMQ's refusals mean, and what to do about them: the one place that reads pika's errors."""

from __future__ import annotations

import ssl

import pika.exceptions

from k9ops.broker.problems import explain_verification
from k9ops.errors import BrokerUnavailable

_CLIENT = " (?certfile=…&keyfile=…)."
_ENDED = ("Connection reset", "Transport indicated EOF", "EOF occurred")


def rabbitmq_unavailable(error: BaseException) -> BrokerUnavailable:
    """Return the error to raise for one of pika's: what refuses, and what to do, where that is known.

    Never with the URL or its parts that are secret.
    """
    words = f"{type(error).__name__}: {error!r}"
    return BrokerUnavailable(_explain(error, words), problem=words)


def _explain(error: BaseException, words: str) -> str:
    if isinstance(error, pika.exceptions.ProbableAuthenticationError) or "ACCESS_REFUSED" in words:
        return "RabbitMQ refuses the user, the password or a permission: correct K9OPS_BROKER_URL, or its user's."
    if isinstance(error, pika.exceptions.ProbableAccessDeniedError) or "NOT_ALLOWED" in words:
        return "RabbitMQ has no such virtual host for this user: correct the end of K9OPS_BROKER_URL (/%2F is `/`)."
    if "PRECONDITION_FAILED" in words and "inequivalent arg" in words:
        return "RabbitMQ has a queue of this name and of another kind: delete that when it is empty."
    return _explain_tls(error, words) or "RabbitMQ does not answer."


def _explain_tls(error: BaseException, words: str) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return explain_verification(
            error, whose="RabbitMQ's", url="K9OPS_BROKER_URL", remedy="name its authority's in it (?cacertfile=…)"
        )
    if "CERTIFICATE_REQUIRED" in words:
        return f"RabbitMQ asks for a client certificate: name one in K9OPS_BROKER_URL{_CLIENT}"
    if "_ALERT_" in words:
        return "RabbitMQ refuses the client certificate in K9OPS_BROKER_URL: name one of an authority that it trusts."
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in words:
        return "RabbitMQ does not speak TLS on this port: write amqp:// in K9OPS_BROKER_URL, or name its TLS port."
    if isinstance(error, pika.exceptions.IncompatibleProtocolError) and any(word in words for word in _ENDED):
        # Of a refused certificate, too, the network may bring nothing but the end.
        return (
            "RabbitMQ ends the connection: in K9OPS_BROKER_URL, write amqps:// if it speaks TLS on this port, and name"
            f" a client certificate that it trusts if it asks for one{_CLIENT}"
        )
    return None

"""The nodes that `K9OPS_BROKER_URL` names, with the certificates of RabbitMQ's own URI parameters.

https://www.rabbitmq.com/docs/uri-query-parameters
"""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pika

from k9ops.errors import SettingsInvalid

_CA, _CERTIFICATE, _KEY, _NAME = "cacertfile", "certfile", "keyfile", "server_name_indication"


def read_nodes(url: str) -> list[pika.URLParameters]:
    """Return how to connect to each node of a URL, in its order.

    Certificate and host name of an `amqps://` node are always checked: against the authorities of the system, or the
    one of `cacertfile` alone. `certfile` and `keyfile` are shown to a node that asks for a certificate, and
    `server_name_indication` names the host of its certificate where that is another than the URL's. Whatever else
    stands behind the `?` is pika's.

    Raises:
        SettingsInvalid: A file cannot be read or is no certificate, a parameter is unknown or has no sense.
    """
    return [_read_node(node) for node in url.split(";")]


def _read_node(url: str) -> pika.URLParameters:
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    own = {name: query.pop(name)[-1] for name in (_CA, _CERTIFICATE, _KEY, _NAME) if name in query}
    if own and parts.scheme != "amqps":
        raise SettingsInvalid(f"K9OPS_BROKER_URL: {', '.join(own)} must stand in a URL of amqps://.")
    if _KEY in own and _CERTIFICATE not in own:
        raise SettingsInvalid("K9OPS_BROKER_URL: keyfile must stand beside certfile.")
    if own and "ssl_options" in query:
        raise SettingsInvalid(f"K9OPS_BROKER_URL: ssl_options cannot stand beside {', '.join(own)}.")
    try:
        node = pika.URLParameters(urlunsplit(parts._replace(query=urlencode(query, doseq=True))))
    except (ValueError, TypeError, SyntaxError, OSError) as exc:
        # Not with pika's words, which may have a part of the URL.
        raise SettingsInvalid("K9OPS_BROKER_URL: what stands behind its ? is none of RabbitMQ's parameters.") from exc
    if own:
        node.ssl_options = pika.SSLOptions(_make_context(own), own.get(_NAME))
    return node


def _make_context(own: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=own.get(_CA))
    except OSError as exc:  # ssl.SSLError is one
        raise _refuse(_CA, own[_CA], "a file of certificates (PEM) that can be read", exc) from exc
    if _CERTIFICATE in own:
        try:
            context.load_cert_chain(own[_CERTIFICATE], own.get(_KEY), password="")
        except OSError as exc:
            wanted = "a certificate (PEM) that can be read, with its key, unencrypted, there or in keyfile"
            raise _refuse(_CERTIFICATE, own[_CERTIFICATE], wanted, exc) from exc
    return context


def _refuse(name: str, value: str, wanted: str, error: OSError) -> SettingsInvalid:
    reason = error.strerror if error.errno is not None and not isinstance(error, ssl.SSLError) else "it is not"
    return SettingsInvalid(f"K9OPS_BROKER_URL: {name} = '{value}': must be {wanted}; {reason}.")

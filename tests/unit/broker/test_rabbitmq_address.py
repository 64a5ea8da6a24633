from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tests.certificates import Authority

from k9ops.broker.rabbitmq_address import read_nodes
from k9ops.config.settings import Settings
from k9ops.errors import SettingsInvalid


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "files")


def test_nodes_are_read_in_their_order(authority: Authority) -> None:
    certificate, key = authority.issue("client")
    url = (
        "amqp://k9ops:p%40ss@one:5673/k9?heartbeat=7;"
        f"amqps://k9ops:p%40ss@two/%2F?cacertfile={authority.ca_file}&certfile={certificate}&keyfile={key}"
        "&server_name_indication=rabbit&heartbeat=9"
    )
    assert Settings(database_url="postgresql://h/k9", broker_url=url).is_rabbitmq  # type: ignore[call-arg, arg-type]
    one, two = read_nodes(url)
    assert (one.host, one.port, one.virtual_host, one.heartbeat, one.ssl_options) == ("one", 5673, "k9", 7, None)
    assert (two.host, two.port, two.virtual_host, two.heartbeat) == ("two", 5671, "/", 9)
    assert one.credentials.password == two.credentials.password == "p@ss"
    context = two.ssl_options.context
    assert two.ssl_options.server_hostname == "rabbit"
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(context.get_ca_certs()) == 1


def test_tls_without_parameters_trusts_the_authorities_of_the_system() -> None:
    (node,) = read_nodes("amqps://h")
    assert (node.ssl_options.context.check_hostname, node.ssl_options.context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:secretpw@h/?cacertfile={ca}", "cacertfile must stand in a URL of amqps://"),
        ("amqps://u:secretpw@h/?keyfile={ca}", "keyfile must stand beside certfile"),
        ("amqps://u:secretpw@h/?certfile={ca}&ssl_options={{}}", "ssl_options cannot stand beside certfile"),
        ("amqps://u:secretpw@h/?cacertfile=/nowhere.pem", "cacertfile = '/nowhere.pem': must be .* No such file"),
        ("amqps://u:secretpw@h/?cacertfile={text}", "must be a file of certificates .* it is not"),
        ("amqps://u:secretpw@h/?certfile={ca}", "must be a certificate .* with its key, unencrypted"),
        ("amqps://u:secretpw@h/?verify=verify_none", "what stands behind its . is none of RabbitMQ's parameters"),
        ("amqp://u:secretpw@h/?heartbeat=soon", "what stands behind its . is none of RabbitMQ's parameters"),
    ],
)
def test_parameters_without_sense_are_refused(url: str, words: str, authority: Authority, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate", encoding="ascii")
    with pytest.raises(SettingsInvalid, match=words) as caught:
        read_nodes(url.format(ca=authority.ca_file, text=text))
    assert "secretpw" not in str(caught.value)

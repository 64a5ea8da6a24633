import re
from pathlib import Path

import pyrage
import pytest

from k9ops.config.settings import Settings, load_settings
from k9ops.errors import SettingsInvalid

NO_FILE = Path("/nonexistent/.env")
PUBLIC_KEY = str(pyrage.x25519.Identity.generate().to_public())


def load(**variables: str) -> Settings:
    return load_settings(variables, env_file=NO_FILE).settings


def test_load_settings_takes_defaults_when_nothing_is_given() -> None:
    loaded = load_settings({}, env_file=NO_FILE)
    assert loaded.settings.timezone == "Asia/Riyadh"
    assert loaded.settings.effective_broker_url == "redis://localhost:6379/1"
    assert loaded.settings.effective_result_url == "redis://localhost:6379/2"
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://h:6380", "redis://h:6380/1"),
        ("redis://h:6380/0", "redis://h:6380/1"),
        ("redis://h:6380/", "redis://h:6380/1"),
        ("rediss://u:p@h:6380/5?ssl_cert_reqs=none", "rediss://u:p@h:6380/1?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=1"),
        ("unix:///run/redis.sock?db=4&password=x", "unix:///run/redis.sock?password=x&db=1"),
    ],
)
def test_effective_broker_url_is_database_1_when_only_redis_url_is_given(redis_url: str, broker_url: str) -> None:
    assert load(REDIS_URL=redis_url).effective_broker_url == broker_url


def test_load_settings_reads_the_names_of_celery_when_the_new_ones_are_missing() -> None:
    loaded = load_settings(
        {
            "CELERY_BROKER_URL": "redis://h/7",
            "CELERY_RESULT_BACKEND": "redis://h/8",
            "CELERY_TASK_DEFAULT_QUEUE": "unit",
            "CELERY_TIMEZONE": "Europe/Berlin",
        },
        env_file=NO_FILE,
    )
    settings = loaded.settings
    assert (settings.effective_broker_url, settings.effective_result_url) == ("redis://h/7", "redis://h/8")
    assert (settings.default_queue, settings.timezone) == ("unit", "Europe/Berlin")
    assert loaded.origins["timezone"] == "environment, CELERY_TIMEZONE"


def test_load_settings_prefers_the_new_name_when_both_are_given() -> None:
    assert load(CELERY_TIMEZONE="Europe/Berlin", K9OPS_TIMEZONE="Asia/Dubai").timezone == "Asia/Dubai"


def test_load_settings_reads_a_secret_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://k9:pw@db/k9\n")
    loaded = load_settings({"DATABASE_URL_FILE": str(secret)}, env_file=NO_FILE)
    assert loaded.settings.database_url.get_secret_value() == "postgresql://k9:pw@db/k9"
    assert loaded.origins["database_url"] == f"file {secret}"


def test_load_settings_refuses_a_secret_file_that_is_missing() -> None:
    with pytest.raises(SettingsInvalid, match=r"DATABASE_URL_FILE = '/no/such': it must name a readable text file"):
        load(DATABASE_URL_FILE="/no/such")


def test_load_settings_refuses_a_value_beside_its_file() -> None:
    with pytest.raises(SettingsInvalid, match="REDIS_URL and REDIS_URL_FILE are both set"):
        load(REDIS_URL="redis://h", REDIS_URL_FILE="/run/secrets/x")


def test_load_settings_works_in_a_folder_that_is_closed_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))  # what stat() says there, also for a missing file

    monkeypatch.setattr(Path, "is_file", refuse)
    assert load_settings({}, env_file=tmp_path / ".env").origins["timezone"] == "default"


def test_load_settings_reads_the_env_file_below_the_environment(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("K9OPS_TIMEZONE=Asia/Dubai\nK9OPS_LEASE_S=20\n")
    loaded = load_settings({"K9OPS_LEASE_S": "30"}, env_file=env_file)
    assert (loaded.settings.timezone, loaded.settings.lease_s) == ("Asia/Dubai", 30)
    assert (loaded.origins["timezone"], loaded.origins["lease_s"]) == (".env", "environment")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"K9OPS_TIMEZONE": "Mars/Base"}, ["K9OPS_TIMEZONE = 'Mars/Base'", "IANA"]),
        ({"K9OPS_NOTIFICATION_RETENTION_DAYS": "9999999"}, ["must be less than or equal to 36500"]),
        ({"K9OPS_RUN_RETENTION_DAYS": "9999999"}, ["must be less than or equal to 36500"]),
        ({"K9OPS_LEASE_S": "soon"}, ["K9OPS_LEASE_S = 'soon'", "must be a valid integer"]),
        ({"K9OPS_METRICS_PORT": "70000"}, ["K9OPS_METRICS_PORT = '70000'", "less than or equal to 65535"]),
        ({"K9OPS_LOG_LEVEL": "loud"}, ["K9OPS_LOG_LEVEL = 'loud'", "'debug'"]),
        ({"DATABASE_URL": "mysql://u:secretpw@h/d"}, ["DATABASE_URL = (secret)", "postgresql://"]),
        ({"DATABASE_URL": "not a url secretpw"}, ["DATABASE_URL = (secret)", "postgresql://"]),
        ({"DATABASE_URL": "postgresql://u:secretpw@x@h/d"}, ["DATABASE_URL = (secret)", "percent-encoded"]),
        ({"REDIS_URL": "redis://:secretpw@x@h:1"}, ["REDIS_URL = (secret)", "percent-encoded"]),
        ({"REDIS_URL": "redis://:secretpw#x@h:1"}, ["REDIS_URL = (secret)", "percent-encoded"]),
        ({"REDIS_URL": "redis://:secretpw?x@h:1"}, ["REDIS_URL = (secret)", "percent-encoded"]),
        ({"CELERY_BROKER_URL": "sqs://u:secretpw@h"}, ["CELERY_BROKER_URL = (secret)", "redis://"]),
        ({"K9OPS_BROKER_URL": "amqp://u:secretpw@h/a/b"}, ["K9OPS_BROKER_URL = (secret)", "amqp://"]),
        (
            {"K9OPS_BROKER_URL": "amqps://u:secretpw@h/a/b?cacertfile=/ca.pem"},
            ["K9OPS_BROKER_URL = (secret)", "amqp://"],
        ),
        ({"K9OPS_BROKER_URL": "amqp://h;amqp://u:secretpw@x@h"}, ["K9OPS_BROKER_URL = (secret)", "percent-encoded"]),
        ({"K9OPS_RESULT_URL": "amqp://u:secretpw@h"}, ["K9OPS_RESULT_URL = (secret)", "redis://"]),
        (
            {"K9OPS_BACKUP_RECIPIENTS": "age1wrong"},
            ["K9OPS_BACKUP_RECIPIENTS = 'age1wrong'", "public keys such as age1"],
        ),
        (
            {"K9OPS_BACKUP_RECIPIENTS": f"{PUBLIC_KEY}, AGE-SECRET-KEY-1secretpw"},
            ["K9OPS_BACKUP_RECIPIENTS = (secret)", "this is a private key"],
        ),
        ({"K9OPS_BACKUP_RECIPIENTS": "age-secret-key-1secretpw"}, ["K9OPS_BACKUP_RECIPIENTS = (secret)"]),
        (
            {"K9OPS_UPLOADS_DIR": "/srv/k9", "K9OPS_BACKUP_DIR": "/srv/k9/backups"},
            ["K9OPS_BACKUP_DIR must not stand in K9OPS_UPLOADS_DIR"],
        ),
        ({"K9OPS_BACKUP_IDENTITY_FILE": "AGE-SECRET-KEY-1secretpw"}, ["= (secret)", "name of a file"]),
        (
            {"K9OPS_BACKUP_SOFT_LIMIT_S": "100", "K9OPS_BACKUP_HARD_LIMIT_S": "100"},
            ["K9OPS_BACKUP_HARD_LIMIT_S must be greater than K9OPS_BACKUP_SOFT_LIMIT_S"],
        ),
        (
            {"K9OPS_REPORT_SOFT_LIMIT_S": "100", "K9OPS_REPORT_HARD_LIMIT_S": "100"},
            ["K9OPS_REPORT_HARD_LIMIT_S must be greater than K9OPS_REPORT_SOFT_LIMIT_S"],
        ),
    ],
)
def test_load_settings_names_the_variable_when_its_value_is_wrong(variables: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(**variables)
    for word in words:
        assert word in caught.value.user_message
    assert "secretpw" not in caught.value.user_message


KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_secret_key_is_one_or_two_keys_and_never_shown() -> None:
    assert load().secret_keys == ()
    assert load(K9OPS_SECRET_KEY=f"{KEY},{KEY}").secret_keys == (bytes(range(32)), bytes(range(32)))
    assert KEY not in repr(load(K9OPS_SECRET_KEY=KEY))
    for wrong in ("my password", KEY[:-4], f"{KEY},{KEY},{KEY}"):
        with pytest.raises(SettingsInvalid) as caught:
            load(K9OPS_SECRET_KEY=wrong)
        assert "openssl rand -base64 32" in caught.value.user_message
        assert wrong not in caught.value.user_message


@pytest.mark.parametrize(
    "variables",
    [
        {"K9OPS_DRIVE_CHUNK_BYTES": "1000000"},
        {"K9OPS_DRIVE_API_URL": "http://example.org/"},
        {"K9OPS_DRIVE_API_URL": "https://example.org"},
        {"K9OPS_DRIVE_FOLDER_ID": "a' or 'b"},
    ],
)
def test_load_settings_refuses_what_drive_would(variables: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid, match="K9OPS_DRIVE_"):
        load(**variables)


def test_recipients_are_taken_once_each_with_any_separator() -> None:
    other = str(pyrage.x25519.Identity.generate().to_public())
    text = f"{PUBLIC_KEY},{other}\n {PUBLIC_KEY} ,"
    assert load(K9OPS_BACKUP_RECIPIENTS=text).recipients == (PUBLIC_KEY, other)
    assert load().recipients == ()


def test_load_settings_names_every_wrong_variable_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(K9OPS_TIMEZONE="x", K9OPS_LEASE_S="y")
    assert len(caught.value.user_message.splitlines()) == 2


def test_settings_show_no_secret_when_printed() -> None:
    assert "hunter2" not in repr(load(DATABASE_URL="postgresql://k9:hunter2@h/k9", REDIS_URL="redis://:hunter2@h"))


ROOT = Path(__file__).parents[3]


def documented(path: str, pattern: str) -> dict[str, str]:
    return dict(re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_documents_list_every_setting_with_its_default() -> None:
    in_docs = documented("docs/configuration.md", r"^\| `([A-Z0-9_]+)` \| [^|]+ \| `?([^|`]*)`? \|")
    in_example = documented(".env.example", r"^# ?([A-Z0-9_]+)=(.*)$")
    expected = {}
    for field in Settings.model_fields.values():
        extra, default = field.json_schema_extra, field.default
        text = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        expected[extra["variable"]] = "" if text is None else str(text)
    assert in_docs == expected
    assert in_example == expected


def test_configuration_document_names_every_alias_and_unit() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for field in Settings.model_fields.values():
        extra = field.json_schema_extra
        row = next(line for line in text.splitlines() if line.startswith(f"| `{extra['variable']}` |"))
        assert all(f"`{alias}`" in row for alias in extra["aliases"])
        assert f"| {extra['unit']} |" in row
        assert field.description in row

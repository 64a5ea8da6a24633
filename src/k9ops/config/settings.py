"""Every setting of k9ops, with type, default, unit and meaning: one long list, kept together on purpose."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import pyrage
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from k9ops.config.keys import decode_keys
from k9ops.config.smtp import check_address, parse_smtp_url, split_addresses
from k9ops.config.sources import (
    DEFAULT_ORIGIN,
    field_is_secret,
    find_unknown,
    find_value,
    process_environment,
    read_env_file,
    variable_names,
)
from k9ops.config.windows import Window, parse_windows
from k9ops.errors import SettingsInvalid

_BROKER_DATABASE = 1
_RESULT_DATABASE = 2
_MAX_DAYS = 36_500  # with more, a cutoff lies before any date that there is
_MOST_KEYS = 2
_ENCODE = "has special characters in its password: write them percent-encoded, such as %40 for @"
_SECRET_KEY = re.compile(r"age-secret-key", re.IGNORECASE)


def _setting(
    variable: str,
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    aliases: tuple[str, ...] = (),
    secret: bool = False,
    **rules: Any,
) -> Any:
    extra = {"variable": variable, "unit": unit, "aliases": list(aliases), "secret": secret}
    return Field(default, description=meaning, json_schema_extra=extra, **rules)  # type: ignore[arg-type]


class Settings(BaseSettings):
    """The settings in force, read once at the start of a process."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    database_url: SecretStr = _setting(
        "DATABASE_URL",
        SecretStr("postgresql://localhost/k9"),
        "The K9 application's PostgreSQL database.",
        secret=True,
    )
    redis_url: SecretStr = _setting(
        "REDIS_URL",
        SecretStr("redis://localhost:6379"),
        "The Redis server (`redis://` or `rediss://`); the two below default to its databases 1 and 2.",
        secret=True,
    )
    broker_url: SecretStr = _setting(
        "K9OPS_BROKER_URL",
        SecretStr(""),
        "Redis database for messages, or a RabbitMQ (`amqp://`, `amqps://`; several nodes with `;` between); empty"
        " means database 1 of `REDIS_URL`.",
        aliases=("CELERY_BROKER_URL",),
        secret=True,
    )
    result_url: SecretStr = _setting(
        "K9OPS_RESULT_URL",
        SecretStr(""),
        "Redis database for results; empty means database 2 of `REDIS_URL`, or none where messages go to RabbitMQ.",
        aliases=("CELERY_RESULT_BACKEND",),
        secret=True,
    )
    redis_ca_file: Path | None = _setting(
        "K9OPS_REDIS_CA_FILE",
        None,
        "Certificate (PEM) of the authority behind a `rediss://` server's; empty means those that the system trusts.",
    )
    default_queue: str = _setting(
        "K9OPS_DEFAULT_QUEUE",
        "k9_tasks",
        "Queue of the short jobs that keep the service itself going.",
        aliases=("CELERY_TASK_DEFAULT_QUEUE",),
        pattern=r"^[a-zA-Z_][a-zA-Z0-9._-]*$",
    )
    timezone: str = _setting(
        "K9OPS_TIMEZONE", "Asia/Riyadh", "The unit's time zone (IANA name).", aliases=("CELERY_TIMEZONE",)
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "K9OPS_LOG_LEVEL", "info", "Least severe level that is logged."
    )
    log_format: Literal["auto", "console", "json"] = _setting(
        "K9OPS_LOG_FORMAT", "auto", "`auto` is `console` on a terminal and `json` elsewhere."
    )
    state_dir: Path = _setting(
        "K9OPS_STATE_DIR",
        Path(".k9ops"),
        "Folder of the embedded servers that `k9ops up` and `k9ops demo` start.",
    )

    connect_timeout_s: int = _setting(
        "K9OPS_CONNECT_TIMEOUT_S",
        5,
        "Longest wait for a connection to PostgreSQL or Redis.",
        unit="s",
        ge=1,
        le=60,
    )
    statement_timeout_s: int = _setting(
        "K9OPS_STATEMENT_TIMEOUT_S",
        60,
        "Longest statement of k9ops in PostgreSQL; 0 is no limit.",
        unit="s",
        ge=0,
    )
    lock_timeout_s: int = _setting(
        "K9OPS_LOCK_TIMEOUT_S", 10, "Longest wait for a lock in PostgreSQL; 0 is no limit.", unit="s", ge=0
    )
    pool_size: int = _setting(
        "K9OPS_POOL_SIZE",
        5,
        "A process opens at most twice as many connections to PostgreSQL, as it needs them, and keeps them.",
        ge=1,
        le=100,
    )

    lease_s: int = _setting(
        "K9OPS_LEASE_S",
        10,
        "How long a worker's claim on a run holds without renewal.",
        unit="s",
        ge=3,
        le=3600,
    )
    relay_interval_s: float = _setting(
        "K9OPS_RELAY_INTERVAL_S", 1.0, "Pause between two rounds of the outbox relay.", unit="s", gt=0, le=60
    )
    resend_after_s: int = _setting(
        "K9OPS_RESEND_AFTER_S",
        10,
        "A sent run that nobody claimed is sent again after this; the wait doubles each time.",
        unit="s",
        ge=1,
        le=3600,
    )
    send_timeout_s: float = _setting(
        "K9OPS_SEND_TIMEOUT_S",
        0.2,
        "Longest wait of `enqueue` and `send()` for Redis or RabbitMQ; after that the fallback holds until it answers.",
        unit="s",
        ge=0.02,
        le=60,
    )
    worker_memory_mb: int = _setting(
        "K9OPS_WORKER_MEMORY_MB",
        1_024,
        "Memory of a worker process, without its children; the run that takes it beyond is ended.",
        unit="MB",
        ge=256,
    )
    inline_fallback: bool = _setting(
        "K9OPS_INLINE_FALLBACK",
        True,
        "Let `enqueue` execute a job in its caller while Redis is away, where the job declares it; `off` when workers"
        " do everything.",
    )
    result_ttl_s: int = _setting(
        "K9OPS_RESULT_TTL_S",
        86_400,
        "How long a result stays in Redis; the ledger keeps it too.",
        unit="s",
        ge=60,
    )
    run_retention_days: int = _setting(
        "K9OPS_RUN_RETENTION_DAYS",
        90,
        "Runs that ended longer ago leave the ledger; the last success of each job stays.",
        unit="days",
        ge=7,
        le=_MAX_DAYS,
    )
    maintenance_retention_days: int = _setting(
        "K9OPS_MAINTENANCE_RETENTION_DAYS",
        3,
        "The same for runs of canary, relay_outbox, rescue_runs and prune_runs that succeeded or had nothing to do.",
        unit="days",
        ge=1,
        le=_MAX_DAYS,
    )
    metrics_host: str = _setting("K9OPS_METRICS_HOST", "127.0.0.1", "Address of a worker's Prometheus metrics.")
    metrics_port: int = _setting(
        "K9OPS_METRICS_PORT",
        0,
        "Port of a worker's Prometheus metrics; 0 switches them off.",
        ge=0,
        le=65_535,
    )

    web_host: str = _setting(
        "K9OPS_WEB_HOST",
        "127.0.0.1",
        "Address on which the dashboard listens.",
    )
    web_port: int = _setting(
        "K9OPS_WEB_PORT",
        8099,
        "Port of the dashboard.",
        ge=1,
        le=65_535,
    )
    web_session_hours: int = _setting(
        "K9OPS_WEB_SESSION_HOURS",
        12,
        "How long a login to the dashboard holds.",
        unit="hours",
        ge=1,
        le=720,
    )
    web_proxies: str = _setting(
        "K9OPS_WEB_PROXIES",
        "",
        "Addresses of reverse proxies, separated by commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` are"
        " believed.",
    )
    web_user_header: str = _setting(
        "K9OPS_WEB_USER_HEADER",
        "",
        "Header in which these proxies name the account; empty means that people log in here.",
    )
    web_metrics_token: SecretStr = _setting(
        "K9OPS_WEB_METRICS_TOKEN",
        SecretStr(""),
        "Bearer token of the dashboard's `/metrics`; empty switches that page off.",
        secret=True,
    )

    backup_dir: Path = _setting("K9OPS_BACKUP_DIR", Path("backups"), "Folder of the backups; made with mode 0700.")
    backup_keep_daily: int = _setting("K9OPS_BACKUP_KEEP_DAILY", 7, "Verified backups kept, one a day.", ge=0)
    backup_keep_weekly: int = _setting("K9OPS_BACKUP_KEEP_WEEKLY", 4, "Verified backups kept, one a week.", ge=0)
    backup_keep_monthly: int = _setting("K9OPS_BACKUP_KEEP_MONTHLY", 12, "Verified backups kept, one a month.", ge=0)
    backup_soft_limit_s: int = _setting(
        "K9OPS_BACKUP_SOFT_LIMIT_S",
        1500,
        "A backup job that runs longer is stopped and cleans up.",
        unit="s",
        ge=1,
    )
    backup_hard_limit_s: int = _setting(
        "K9OPS_BACKUP_HARD_LIMIT_S",
        1800,
        "A backup job that still runs then is ended by force.",
        unit="s",
        ge=1,
    )
    backup_stall_s: int = _setting(
        "K9OPS_BACKUP_STALL_S",
        300,
        "A pg_dump or pg_restore that moves no byte for this long is ended.",
        unit="s",
        ge=1,
    )
    backup_client_memory_mb: int = _setting(
        "K9OPS_BACKUP_CLIENT_MEMORY_MB",
        2_048,
        "Address space of a pg_dump or pg_restore; beyond it that backup, verification or restore fails, and nothing"
        " else. Four times the largest value of a column is enough.",
        unit="MB",
        ge=64,
    )
    backup_min_free_bytes: int = _setting(
        "K9OPS_BACKUP_MIN_FREE_BYTES",
        536_870_912,
        "Room that must be left in the backup folder after a backup.",
        unit="bytes",
        ge=0,
    )
    backup_recipients: str = _setting(
        "K9OPS_BACKUP_RECIPIENTS",
        "",
        "Public keys (`age1…`), separated by commas: each of their private keys opens the backups; empty means that"
        " backups are not encrypted.",
    )
    uploads_dir: Path | None = _setting(
        "K9OPS_UPLOADS_DIR",
        None,
        "Folder of the web application's photos and attachments, backed up with the database; empty means none.",
    )
    backup_identity_file: Path | None = _setting(
        "K9OPS_BACKUP_IDENTITY_FILE",
        None,
        "File with a private key of age, on a machine that only verifies; empty where backups are made.",
    )
    undo_days: int = _setting(
        "K9OPS_UNDO_DAYS",
        7,
        "How long the former database is kept after a restored one took its place.",
        unit="days",
        ge=1,
    )
    verify_database_url: SecretStr = _setting(
        "K9OPS_VERIFY_DATABASE_URL",
        SecretStr(""),
        "Server of the same version where backups are restored to verify them; empty means that of `DATABASE_URL`.",
        secret=True,
    )
    pg_bin_dir: Path | None = _setting(
        "K9OPS_PG_BIN_DIR", None, "Folder of pg_dump and pg_restore; empty means that they are looked for."
    )

    secret_key: SecretStr = _setting(
        "K9OPS_SECRET_KEY",
        SecretStr(""),
        "Key that seals the Drive credentials and signs the dashboard's cookies: 32 bytes in base64 (`openssl rand"
        " -base64 32`). To change it, put the new one before the old one with a comma between, and run `k9ops drive"
        " seal`.",
        secret=True,
    )
    oauth_client: SecretStr = _setting(
        "GOOGLE_OAUTH_CLIENT_SECRETS",
        SecretStr(""),
        "OAuth client for `k9ops drive connect`: its JSON, or the path of the file; of the type for TVs and limited"
        " input devices.",
        secret=True,
    )
    drive_service_account: SecretStr = _setting(
        "K9OPS_DRIVE_SERVICE_ACCOUNT",
        SecretStr(""),
        "Key of a service account (JSON), which then is used instead of a person's consent; best given as"
        " `K9OPS_DRIVE_SERVICE_ACCOUNT_FILE`.",
        secret=True,
    )
    drive_folder_id: str = _setting(
        "K9OPS_DRIVE_FOLDER_ID",
        "",
        "Drive's id of the folder for backups, also one in a shared drive; empty means that of the application's"
        " settings, else `K9 Database Backups` is found or made.",
        pattern=r"^[\w-]*$",
    )
    drive_chunk_bytes: int = _setting(
        "K9OPS_DRIVE_CHUNK_BYTES",
        8_388_608,
        "How much of an upload is sent at a time; a multiple of 262144.",
        unit="bytes",
        ge=262_144,
        le=1_073_741_824,
        multiple_of=262_144,
    )
    drive_timeout_s: int = _setting(
        "K9OPS_DRIVE_TIMEOUT_S", 60, "Longest wait for a byte from Google Drive.", unit="s", ge=1, le=600
    )
    drive_required: bool = _setting(
        "K9OPS_DRIVE_REQUIRED",
        True,
        "Where Drive is switched on, retention leaves a backup in the folder until it, or a newer verified one, is on"
        " Drive.",
    )
    drive_api_url: str = _setting(
        "K9OPS_DRIVE_API_URL",
        "https://www.googleapis.com/",
        "Root of the Drive API, for a proxy that stands before it.",
        pattern=r"^(https://[^/\s]+|http://(127\.0\.0\.1|localhost)(:\d+)?)/$",
    )

    notification_retention_days: int = _setting(
        "K9OPS_NOTIFICATION_RETENTION_DAYS",
        30,
        "Read notifications that are older are deleted.",
        unit="days",
        ge=1,
        le=_MAX_DAYS,
    )
    notification_batch_rows: int = _setting(
        "K9OPS_NOTIFICATION_BATCH_ROWS", 500, "Notifications deleted in one transaction.", unit="rows", ge=1
    )
    notification_pause_s: float = _setting(
        "K9OPS_NOTIFICATION_PAUSE_S", 0.02, "Pause between two such transactions.", unit="s", ge=0, le=60
    )

    reports_dir: Path = _setting(
        "K9OPS_REPORTS_DIR", Path("reports"), "Folder of the finished reports; made with mode 0700."
    )
    report_retention_days: int = _setting(
        "K9OPS_REPORT_RETENTION_DAYS", 30, "Finished reports that are older are deleted.", unit="days", ge=1
    )
    report_max_rows: int = _setting(
        "K9OPS_REPORT_MAX_ROWS",
        100_000,
        "A spreadsheet or CSV with more rows is refused.",
        unit="rows",
        ge=1,
        le=1_000_000,
    )
    report_max_pdf_rows: int = _setting(
        "K9OPS_REPORT_MAX_PDF_ROWS", 50_000, "A PDF with more rows is refused.", unit="rows", ge=1, le=1_000_000
    )
    report_max_pages: int = _setting(
        "K9OPS_REPORT_MAX_PAGES", 3_000, "A PDF with more pages is refused.", unit="pages", ge=1
    )
    report_soft_limit_s: int = _setting(
        "K9OPS_REPORT_SOFT_LIMIT_S", 1500, "A report that takes longer is stopped, its renderer too.", unit="s", ge=1
    )
    report_hard_limit_s: int = _setting(
        "K9OPS_REPORT_HARD_LIMIT_S", 1800, "A report that still runs then is ended by force.", unit="s", ge=1
    )
    report_processes: int = _setting(
        "K9OPS_REPORT_PROCESSES",
        0,
        "Processes that render a PDF in parts, each with its own K9OPS_REPORT_MEMORY_MB; 0 means one for each core.",
        ge=0,
        le=64,
    )
    report_memory_mb: int = _setting(
        "K9OPS_REPORT_MEMORY_MB",
        1_536,
        "Address space of a process that renders a PDF; beyond it the report fails, and nothing else.",
        unit="MB",
        ge=512,
    )
    report_renderer_documents: int = _setting(
        "K9OPS_REPORT_RENDERER_DOCUMENTS",
        50,
        "Documents that a rendering process makes before a fresh one takes its place.",
        ge=1,
    )
    report_digits: Literal["western", "arabic"] = _setting(
        "K9OPS_REPORT_DIGITS", "western", "Digits of numbers, dates and times in PDF reports: 123 or ١٢٣."
    )
    report_hijri: bool = _setting(
        "K9OPS_REPORT_HIJRI", False, "Show the Hijri date (Umm al-Qura) beside the Gregorian one in PDF reports."
    )
    report_logo: Path | None = _setting(
        "K9OPS_REPORT_LOGO", None, "Logo of PDF reports, an SVG or PNG file; empty leaves it out."
    )
    report_fixed_time: datetime | None = _setting(
        "K9OPS_REPORT_FIXED_TIME",
        None,
        "Moment (ISO 8601 with offset) that stands in every report as its time of creation, so that the same data give"
        " the same bytes; empty means the true one.",
    )
    report_delivery_dir: Path | None = _setting(
        "K9OPS_REPORT_DELIVERY_DIR",
        None,
        "Finished reports may be delivered into folders below this one; empty allows none.",
    )
    report_max_mail_mb: int = _setting(
        "K9OPS_REPORT_MAX_MAIL_MB", 20, "A report that is larger is not sent by e-mail.", unit="MB", ge=1
    )
    smtp_url: SecretStr = _setting(
        "K9OPS_SMTP_URL",
        SecretStr(""),
        "Mail server, such as `smtp://user:password@host:587` (STARTTLS is required, but for this machine itself and"
        " with `?starttls=off`) or `smtps://`; empty sends no e-mail.",
        secret=True,
    )
    smtp_from: str = _setting("K9OPS_SMTP_FROM", "", "Sender of e-mails, `Name <name@example.org>` or the address.")
    smtp_timeout_s: int = _setting(
        "K9OPS_SMTP_TIMEOUT_S", 30, "A mail server that is silent for this long is away.", unit="s", ge=1
    )
    watch_interval_s: int = _setting(
        "K9OPS_WATCH_INTERVAL_S",
        30,
        "Pause between two rounds of the watchman, who is elected among all processes; 0 switches him off here.",
        unit="s",
        ge=0,
        le=3600,
    )
    alert_start_grace_s: int = _setting(
        "K9OPS_ALERT_START_GRACE_S", 900, "How late a scheduled run may start before people are told.", unit="s", ge=60
    )
    alert_run_grace_s: int = _setting(
        "K9OPS_ALERT_RUN_GRACE_S",
        1800,
        "How long a run may take, or four times as long as it usually does, before people are told.",
        unit="s",
        ge=60,
    )
    alert_queue_grace_s: int = _setting(
        "K9OPS_ALERT_QUEUE_GRACE_S",
        300,
        "How long runs may wait without a worker or unsent, and PostgreSQL be away, before people are told.",
        unit="s",
        ge=10,
    )
    alert_backup_age_h: int = _setting(
        "K9OPS_ALERT_BACKUP_AGE_H", 30, "Age of the last proven backup at which people are told.", unit="h", ge=1
    )
    alert_shrink_percent: int = _setting(
        "K9OPS_ALERT_SHRINK_PERCENT",
        40,
        "How much smaller than those before a backup must be for people to be told.",
        unit="%",
        ge=1,
        le=99,
    )
    alert_remind_h: int = _setting(
        "K9OPS_ALERT_REMIND_H", 24, "People are told again of what goes on, after so long; 0 never.", unit="h", ge=0
    )
    alert_off: str = _setting(
        "K9OPS_ALERT_OFF", "", "Names of rules that are switched off, separated by commas; `docs/alerts.md` lists them."
    )
    alert_maintenance: str = _setting(
        "K9OPS_ALERT_MAINTENANCE",
        "",
        "Times at which nobody is told, in the unit's time zone, such as `Fri 02:00-04:00, 23:30-00:30`.",
    )
    alert_webhook_url: SecretStr = _setting(
        "K9OPS_ALERT_WEBHOOK_URL", SecretStr(""), "Where alerts are posted as JSON.", secret=True
    )
    alert_slack_url: SecretStr = _setting(
        "K9OPS_ALERT_SLACK_URL", SecretStr(""), "Incoming webhook of Slack, or of what takes the same.", secret=True
    )
    alert_telegram_token: SecretStr = _setting(
        "K9OPS_ALERT_TELEGRAM_TOKEN", SecretStr(""), "Token of the bot that sends alerts in Telegram.", secret=True
    )
    alert_telegram_chat: str = _setting(
        "K9OPS_ALERT_TELEGRAM_CHAT", "", "Id of the chat that the bot writes to; goes with the token."
    )
    alert_telegram_api_url: str = _setting(
        "K9OPS_ALERT_TELEGRAM_API_URL",
        "https://api.telegram.org/",
        "Root of the Telegram API, for a proxy that stands before it.",
    )
    alert_mail_to: str = _setting(
        "K9OPS_ALERT_MAIL_TO", "", "Addresses that alerts go to by e-mail, separated by commas; needs K9OPS_SMTP_URL."
    )
    alert_notify_admins: bool = _setting(
        "K9OPS_ALERT_NOTIFY_ADMINS",
        False,
        "Write alerts into the application's notifications, for every active general admin.",
    )
    ping_urls: SecretStr = _setting(
        "K9OPS_PING_URLS",
        SecretStr(""),
        "Outside dead man's switches (healthchecks.io or alike): `create_backup=https://…, watchman=https://…`.",
        secret=True,
    )

    unit_name_ar: str = _setting("K9OPS_UNIT_NAME_AR", "وحدة الكلاب البوليسية", "The unit's name in Arabic.")
    unit_name_en: str = _setting("K9OPS_UNIT_NAME_EN", "Police Dog Unit", "The unit's name in English.")

    schedule_auto_lock_hour: int = _setting(
        "SCHEDULE_AUTO_LOCK_HOUR", 23, "Hour of the day at which past schedules are locked.", ge=0, le=23
    )
    schedule_auto_lock_minute: int = _setting("SCHEDULE_AUTO_LOCK_MINUTE", 59, "Minute of that hour.", ge=0, le=59)
    audit_username: str = _setting(
        "K9OPS_AUDIT_USERNAME",
        "",
        "User of the application in whose name locked schedules stand in its `audit_log`; empty leaves that out.",
    )

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("must be an IANA time zone such as Asia/Riyadh")
        return name

    @field_validator("backup_recipients")
    @classmethod
    def _check_recipients(cls, text: str) -> str:
        if _SECRET_KEY.search(text):
            raise ValueError("this is a private key: keep it away from here, and set its public key, age1…")
        for name in _split_names(text):
            try:
                pyrage.x25519.Recipient.from_str(name)
            except pyrage.RecipientError as exc:
                raise ValueError("must be public keys such as age1…, separated by commas") from exc
        return text

    @field_validator("backup_identity_file")
    @classmethod
    def _check_identity_file(cls, path: Path | None) -> Path | None:
        if path is not None and _SECRET_KEY.search(str(path)):
            raise ValueError("must be the name of a file that holds the private key, not the key")
        return path

    @field_validator("alert_maintenance")
    @classmethod
    def _check_windows(cls, text: str) -> str:
        parse_windows(text)
        return text

    @field_validator("alert_webhook_url", "alert_slack_url")
    @classmethod
    def _check_web_address(cls, secret: SecretStr) -> SecretStr:
        if secret.get_secret_value() and not _is_web_address(secret.get_secret_value()):
            raise ValueError("must look like https://host/path")
        return secret

    @field_validator("ping_urls")
    @classmethod
    def _check_ping_urls(cls, secret: SecretStr) -> SecretStr:
        for part in _split_names(secret.get_secret_value()):
            job, equals, url = part.partition("=")
            if not (job and equals and _is_web_address(url)):
                raise ValueError("must look like create_backup=https://host/path, separated by commas")
        return secret

    @field_validator("report_fixed_time")
    @classmethod
    def _check_offset(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("must have an offset, such as 2026-11-24T02:00:00+03:00")
        return moment

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp(cls, secret: SecretStr) -> SecretStr:
        if secret.get_secret_value():
            parse_smtp_url(secret.get_secret_value())
        return secret

    @field_validator("alert_mail_to")
    @classmethod
    def _check_addresses(cls, text: str) -> str:
        for address in split_addresses(text):
            check_address(address)
        return text

    @field_validator("smtp_from")
    @classmethod
    def _check_sender(cls, sender: str) -> str:
        if sender and ("\n" in sender or "\r" in sender or "@" not in parseaddr(sender)[1]):
            raise ValueError("must be an address such as k9@example.org, or Name <k9@example.org>")
        return sender

    @field_validator("report_logo")
    @classmethod
    def _check_logo(cls, logo: Path | None) -> Path | None:
        if logo is not None and logo.suffix.lower() not in (".svg", ".png"):
            raise ValueError("must be an SVG or PNG file")
        return logo

    @field_validator("database_url", "verify_database_url")
    @classmethod
    def _check_postgresql(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if not text:
            return secret
        try:
            url = make_url(text)
        except ArgumentError:
            url = None
        if url is None or url.get_backend_name() not in ("postgresql", "postgres") or not url.database:
            raise ValueError("must look like postgresql://user:password@host:5432/database")
        if "@" in (url.host or ""):
            raise ValueError(_ENCODE)
        return secret

    @field_validator("broker_url")
    @classmethod
    def _check_broker(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if not re.match(r"amqps?:", text):
            return cls._check_redis(secret)
        for node in text.split(";"):
            if not re.fullmatch(r"amqps?://[^/?\s]+(/[^/?\s]*)?(\?\S*)?", node):
                raise ValueError("must look like amqp://user:password@host:5672/vhost, or redis://host:6379/1")
            if not _has_plain_authority(node):
                raise ValueError(_ENCODE)
        return secret

    @field_validator("redis_url", "result_url")
    @classmethod
    def _check_redis(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if text and not re.fullmatch(r"(rediss?://[^/\s]+(/\d*)?(\?\S*)?|unix://\S+)", text):
            raise ValueError("must look like redis://user:password@host:6379/1, with rediss:// for TLS")
        if text and not text.startswith("unix:") and not _has_plain_authority(text):
            raise ValueError(_ENCODE)
        return secret

    @field_validator("web_proxies")
    @classmethod
    def _check_proxies(cls, text: str) -> str:
        for name in _split_names(text):
            try:
                ipaddress.ip_address(name)
            except ValueError as exc:
                raise ValueError("must be addresses such as 10.0.0.2, separated by commas") from exc
        return text

    @field_validator("secret_key")
    @classmethod
    def _check_secret_key(cls, secret: SecretStr) -> SecretStr:
        try:
            keys = decode_keys(secret.get_secret_value())
        except ValueError:
            keys = (b"",) * (_MOST_KEYS + 1)
        if len(keys) > _MOST_KEYS:
            raise ValueError(
                "must be 32 bytes in base64, as `openssl rand -base64 32` prints; or two of them, comma between"
            )
        return secret

    @model_validator(mode="after")
    def _check_limits(self) -> Settings:
        if self.backup_hard_limit_s <= self.backup_soft_limit_s:
            raise ValueError("K9OPS_BACKUP_HARD_LIMIT_S must be greater than K9OPS_BACKUP_SOFT_LIMIT_S")
        if self.report_hard_limit_s <= self.report_soft_limit_s:
            raise ValueError("K9OPS_REPORT_HARD_LIMIT_S must be greater than K9OPS_REPORT_SOFT_LIMIT_S")
        if self.alert_mail_to and not (self.smtp_url.get_secret_value() and self.smtp_from):
            raise ValueError("K9OPS_ALERT_MAIL_TO needs K9OPS_SMTP_URL and K9OPS_SMTP_FROM")
        if bool(self.alert_telegram_token.get_secret_value()) != bool(self.alert_telegram_chat):
            raise ValueError("K9OPS_ALERT_TELEGRAM_TOKEN and K9OPS_ALERT_TELEGRAM_CHAT go together")
        if self.uploads_dir is not None and self.backup_dir.resolve().is_relative_to(self.uploads_dir.resolve()):
            raise ValueError("K9OPS_BACKUP_DIR must not stand in K9OPS_UPLOADS_DIR: backups would hold each other")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The unit's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def secret_keys(self) -> tuple[bytes, ...]:
        """The keys of `K9OPS_SECRET_KEY`, the one that seals first; none when it is not set."""
        return decode_keys(self.secret_key.get_secret_value())

    @property
    def trusted_proxies(self) -> frozenset[str]:
        """Addresses of the reverse proxies whose headers the dashboard believes."""
        return frozenset(_split_names(self.web_proxies))

    @property
    def recipients(self) -> tuple[str, ...]:
        """Public keys to which backups are encrypted, each once; none means that they are not."""
        return tuple(dict.fromkeys(_split_names(self.backup_recipients)))

    @property
    def alert_rules_off(self) -> frozenset[str]:
        """Names of the rules of `K9OPS_ALERT_OFF`."""
        return frozenset(_split_names(self.alert_off))

    @property
    def maintenance_windows(self) -> tuple[Window, ...]:
        """The windows of `K9OPS_ALERT_MAINTENANCE`."""
        return parse_windows(self.alert_maintenance)

    @property
    def pinged_jobs(self) -> tuple[str, ...]:
        """Jobs that have a dead man's switch; `watchman` is the watchman himself."""
        return tuple(part.partition("=")[0] for part in _split_names(self.ping_urls.get_secret_value()))

    def ping_url_of(self, job: str) -> str | None:
        """Return the URL of a job's dead man's switch, which is a secret; None when it has none."""
        pairs = (part.partition("=") for part in _split_names(self.ping_urls.get_secret_value()))
        return {name: url for name, _, url in pairs}.get(job)

    @property
    def sqlalchemy_url(self) -> URL:
        """`DATABASE_URL` for SQLAlchemy with psycopg 3."""
        return to_sqlalchemy_url(self.database_url.get_secret_value())

    @property
    def sqlalchemy_verify_url(self) -> URL:
        """The server for verification, as a URL for SQLAlchemy."""
        return to_sqlalchemy_url(self.verify_database_url.get_secret_value() or self.database_url.get_secret_value())

    @property
    def is_rabbitmq(self) -> bool:
        """Whether messages go through RabbitMQ."""
        return self.broker_url.get_secret_value().startswith(("amqp:", "amqps:"))

    @property
    def effective_broker_url(self) -> str:
        """The broker's URL with its database, secrets included."""
        return self.broker_url.get_secret_value() or self.redis_url_of(_BROKER_DATABASE)

    @property
    def effective_result_url(self) -> str:
        """The result backend's URL with its database, secrets included."""
        return self.result_url.get_secret_value() or self.redis_url_of(_RESULT_DATABASE)

    def redis_url_of(self, database: int) -> str:
        """Return `REDIS_URL` with another database number."""
        base, _, query = self.redis_url.get_secret_value().partition("?")
        suffix = f"?{query}" if query else ""
        if base.startswith("unix://"):
            options = [part for part in query.split("&") if part and not part.startswith("db=")]
            return f"{base}?{'&'.join([*options, f'db={database}'])}"
        return re.sub(r"^(rediss?://[^/]+)(/\d*)?$", rf"\g<1>/{database}", base) + suffix

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load_settings` only, which keeps note of where each came from."""
        return (init_settings,)


def _split_names(text: str) -> list[str]:
    return [name for name in re.split(r"[,\s]+", text) if name]


def _is_web_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _has_plain_authority(text: str) -> bool:
    parts = urlsplit(text)
    try:
        return parts.netloc.count("@") <= 1 and not parts.fragment and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def to_sqlalchemy_url(text: str) -> URL:
    """Return a PostgreSQL URL with the psycopg 3 driver named."""
    return make_url(text).set(drivername="postgresql+psycopg")


class LoadedSettings:
    """Settings together with the origin of each value.

    Attributes:
        settings: The values.
        origins: Field name to origin, for a person.
        unknown: Variables that are named as ours and that nothing reads, as one that is misspelt.
    """

    def __init__(self, settings: Settings, origins: Mapping[str, str], unknown: Sequence[str] = ()) -> None:
        self.settings = settings
        self.origins = origins
        self.unknown = tuple(unknown)


def load_settings(environment: Mapping[str, str] | None = None, *, env_file: Path = Path(".env")) -> LoadedSettings:
    """Read all settings.

    Args:
        environment: Variables; None takes those of the process.
        env_file: Lowest source before the defaults; may be missing.

    Raises:
        SettingsInvalid: Names each variable in question, its value (unless secret) and what it must be.
    """
    variables = process_environment() if environment is None else environment
    from_file = read_env_file(env_file)
    texts: dict[str, str] = {}
    origins: dict[str, str] = {}
    given: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        found = find_value(field, variables, from_file)
        origins[name] = found.origin if found else DEFAULT_ORIGIN
        if found:
            texts[name], given[name] = found.text, found.variable
    try:
        unknown = find_unknown(Settings.model_fields.values(), {**from_file, **variables})
        return LoadedSettings(Settings(**texts), origins, unknown)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise SettingsInvalid(_explain(exc, texts, given)) from None


def _explain(error: ValidationError, texts: Mapping[str, str], given: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors(include_url=False):
        message = str(item["msg"]).removeprefix("Value error, ")
        message = re.sub(r"^Input should be", "must be", message)
        if not item["loc"]:
            lines.append(f"{message}.")
            continue
        name = str(item["loc"][0])
        field = Settings.model_fields[name]
        variable = given.get(name, variable_names(field)[0])
        text = texts.get(name, "")
        value = "(secret)" if field_is_secret(field) or _SECRET_KEY.search(text) else repr(text)
        lines.append(f"{variable} = {value}: {message}.")
    return "\n".join(lines)


@lru_cache(maxsize=1)
def get_loaded_settings() -> LoadedSettings:
    """Return the process's settings and their origins, read on first use."""
    return load_settings()


def get_settings() -> Settings:
    """Return the process's settings, read on first use.

    Raises:
        SettingsInvalid: As `load_settings` says.
    """
    return get_loaded_settings().settings

# One image for worker, scheduler and command. To pin the bases for good, append their digests:
#   docker buildx imagetools inspect python:3.11.15-slim-bookworm

FROM python:3.11.15-slim-bookworm AS build
WORKDIR /build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/k9ops UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
# The dependencies first: they change seldom, and their layer is kept.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --extra rabbitmq --no-install-project
COPY src ./src
RUN uv sync --frozen --no-dev --extra rabbitmq --no-editable

FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title="k9ops" \
      org.opencontainers.image.description="Background service of the K9 Operations Management System" \
      org.opencontainers.image.licenses="Apache-2.0"
# pg_dump and pg_restore of the server's major version: bookworm has 15 (docs/decisions/0004-which-pg-dump.md).
# Pango lays out the text of PDF reports.
# Without exact versions, so that a rebuild has Debian's security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client-15 libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin k9ops \
    && install --directory --owner=k9ops --group=k9ops --mode=0700 /var/lib/k9ops /var/lib/k9ops/backups /var/lib/k9ops/reports
COPY --from=build /opt/k9ops /opt/k9ops
ENV PATH=/opt/k9ops/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    K9OPS_LOG_FORMAT=json \
    K9OPS_BACKUP_DIR=/var/lib/k9ops/backups \
    K9OPS_REPORTS_DIR=/var/lib/k9ops/reports \
    XDG_CACHE_HOME=/tmp/cache \
    K9OPS_STATE_DIR=/var/lib/k9ops/state
USER 10001:10001
WORKDIR /var/lib/k9ops
VOLUME /var/lib/k9ops/backups /var/lib/k9ops/reports
# A worker puts its runs back before it ends.
STOPSIGNAL SIGTERM
# Alive: a worker or scheduler of this container has reported to the ledger lately.
HEALTHCHECK --interval=60s --timeout=15s --start-period=30s --retries=3 CMD ["k9ops", "inspect", "workers", "--here"]
CMD ["dramatiq", "k9ops.actors", "--processes", "1", "--threads", "4", "--skip-logging"]

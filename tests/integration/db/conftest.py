"""Engines on a fresh database, on each version of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from k9ops.config.settings import load_settings, to_sqlalchemy_url
from k9ops.db.engine import create_engine_for

Connect = Callable[..., Engine]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes engines from a URL and settings by variable; they are closed with the test."""
    engines: list[Engine] = []

    def make(url: str, **variables: str) -> Engine:
        settings = load_settings(variables).settings
        engines.append(create_engine_for(to_sqlalchemy_url(url), settings, application_name="k9ops test:1"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture(params=["database_url", "database15_url"], ids=["postgres18", "postgres15"])
def any_url(request: pytest.FixtureRequest) -> str:
    """A fresh, empty database on PostgreSQL 18, and again on 15."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def any_engine(any_url: str, connect: Connect) -> Engine:
    """An engine on `any_url`."""
    return connect(any_url)

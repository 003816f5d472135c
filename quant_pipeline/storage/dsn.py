"""One description of a PostgreSQL database, from which every driver's connection string is derived."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+psycopg2"})


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a database is and who we are there.

    `options` are libpq connection parameters such as `("sslmode", "require")`, kept in the order given.
    The password is left out of `repr`, so that a DSN may appear in logs and error texts.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> Dsn:
        """Read a `postgresql://user:password@host:port/database?sslmode=...` URL (a `+psycopg2` suffix is accepted).

        Raises:
            ValueError: another scheme, or no host or database; the text does not repeat the password.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            msg = f"database URL has scheme {parts.scheme!r}; use postgresql://user:password@host:port/database"
            raise ValueError(msg)
        database = unquote(parts.path.lstrip("/"))
        if not parts.hostname or not database:
            msg = f"database URL names host {parts.hostname!r} and database {database!r}; both are needed"
            raise ValueError(msg)
        return cls(
            host=parts.hostname,
            port=parts.port if parts.port is not None else 5432,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=database,
            options=tuple(parse_qsl(parts.query)),
        )

    def sqlalchemy(self) -> str:
        """URL for SQLAlchemy with the driver named (a bare `postgresql://` selects another driver)."""
        return f"postgresql+psycopg2://{self._location()}{_query(self.options)}"

    def adbc(self) -> str:
        """URL for libpq and ADBC; the session's time zone is set to UTC."""
        return f"postgresql://{self._location()}{_query(with_utc(self.options))}"

    def with_database(self, name: str) -> Dsn:
        """The same server and user, another database."""
        return replace(self, database=name)

    def _location(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        credentials = quote(self.user, safe="")
        if self.password:
            credentials += ":" + quote(self.password, safe="")
        return f"{credentials}@{host}:{self.port}/{quote(self.database, safe='')}"


def with_utc(options: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The options with the session's time zone set to UTC, other server options kept."""
    given = dict(options)
    given["options"] = f"{given.get('options', '')} -c TimeZone=UTC".strip()
    return tuple(given.items())


def _query(options: tuple[tuple[str, str], ...]) -> str:
    # libpq reads "+" literally, so blanks must be written as %20.
    return "?" + urlencode(options, quote_via=quote) if options else ""

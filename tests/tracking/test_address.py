import pytest

from vae_experiments.errors import InputError
from vae_experiments.tracking.address import resolve_uri, shown, without_password

WITH_PASSWORD = {
    "https://me:secret@host:5000/x": "https://***@host:5000/x",
    "https://secret@host": "https://***@host",
    "http://me:secret#1@host:5000": "http://***@host:5000",
    "ftp://me:secret@host": "ftp://***@host",
    "postgresql+psycopg2://me:se%40cret@host/db": "postgresql+psycopg2://me:***@host/db",
    "postgresql://me:secret/?#1@host:5432/db": "postgresql://me:***@host:5432/db",
    "mysql://me:secret@1@host/db": "mysql://me:***@host/db",
    "postgresql://host/db?user=me&password=secret&sslmode=require": (
        "postgresql://host/db?user=me&password=***&sslmode=require"
    ),
    "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret": "mssql+pyodbc:///?odbc_connect=***",
}
WITHOUT_PASSWORD = [
    "http://host:5000/a@b?c=d@e#f",
    "postgresql://me@host:5432/db",
    "postgresql:///db?host=/run/a@b",
    "sqlite:////data/***@me:secret@host/mlflow.db",
]


@pytest.mark.parametrize(("uri", "expected"), WITH_PASSWORD.items())
def test_a_password_is_never_shown(uri: str, expected: str) -> None:
    assert shown(uri) == expected == shown(expected)


@pytest.mark.parametrize("uri", WITHOUT_PASSWORD)
def test_what_has_no_password_is_shown_as_it_is(uri: str) -> None:
    assert shown(uri) == uri
    assert resolve_uri(uri)


@pytest.mark.parametrize("uri", ["http://me:secret#1@host", "http://:secret@", "ftp://me:secret@host"])
def test_a_refusal_does_not_tell_the_password(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as refused:
        resolve_uri(uri)
    assert "secret" not in str(refused.value)


def test_a_stored_config_has_everything_but_the_password() -> None:
    config = {"seed": 1, "tracking": {"enabled": True, "uri": "postgresql://me:secret@host/db"}}
    stored = without_password(config)
    assert stored == {"seed": 1, "tracking": {"enabled": True, "uri": "postgresql://me:***@host/db"}}
    assert without_password(stored) == stored
    assert config["tracking"] == {"enabled": True, "uri": "postgresql://me:secret@host/db"}
    for plain in ({"seed": 1}, {"tracking": {"enabled": False}}, {"tracking": {"uri": None}}):
        assert without_password(plain) == plain


def test_a_hidden_password_comes_back_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "postgresql://me:secret@host/db"
    for other in (None, "postgresql://me:secret@elsewhere/db", shown(whole)):
        if other is not None:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        with pytest.raises(InputError, match="set MLFLOW_TRACKING_URI to the whole address") as refused:
            resolve_uri(shown(whole))
        assert "\n" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", whole)
    assert resolve_uri(shown(whole)) == whole

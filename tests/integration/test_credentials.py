"""Where a password comes from when a session begins: a secret as RDS keeps it, fetched once more, or a token of IAM."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import psycopg
import pytest
from cryptography import x509
from moto.server import ThreadedMotoServer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from task_migration.errors import Refused
from task_migration.postgres import credentials, database

REGION = "ap-northeast-1"
HOST = f"task-service.abcdefghijkl.{REGION}.rds.amazonaws.com"


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture
def secrets_manager(aws: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws)
    monkeypatch.setattr(credentials, "_SEEN", {})
    return boto3.client(
        "secretsmanager",
        endpoint_url=aws,
        region_name=REGION,
        aws_access_key_id="emulated",
        aws_secret_access_key="emulated",
    )


@pytest.fixture
def login(laravel_server: Any, laravel_database: Callable[..., Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A login with a password of the test's choice: its connection string, and how to give it another password."""
    name = "kept_elsewhere"
    fresh = laravel_database()

    def give(password: str) -> None:
        with laravel_server.connect() as superuser:
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
            superuser.execute(statement)

    with laravel_server.connect() as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        yield make_conninfo(fresh.dsn, user=name), give
    finally:
        with laravel_server.connect() as superuser:
            superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _kept(client: Any, name: str, **secret: str) -> str:
    made = client.create_secret(Name=name, SecretString=json.dumps(secret))
    arn: str = made["ARN"]
    return arn


def _asks(dsn: str) -> str:
    with database.connect(database.laravel(dsn), "gate") as connection:
        row = connection.execute("SELECT current_user::text").fetchone()
    assert row is not None
    name: str = row[0]
    return name


def test_a_session_logs_in_with_what_the_secret_says(secrets_manager: Any, login: Any) -> None:
    dsn, give = login
    give("first")
    arn = _kept(secrets_manager, "rds!db-1", username="kept_elsewhere", password="first")
    assert _asks(make_conninfo(dsn, passfile=arn)) == "kept_elsewhere"
    without = {key: value for key, value in conninfo_to_dict(dsn).items() if key != "user"}
    assert _asks(make_conninfo("", **without | {"passfile": arn})) == "kept_elsewhere", "the secret names the user"


def test_a_secret_that_was_rotated_is_fetched_once_more(secrets_manager: Any, login: Any, monkeypatch: Any) -> None:
    dsn, give = login
    give("first")
    arn = _kept(secrets_manager, "rds!db-2", username="kept_elsewhere", password="first")
    dsn = make_conninfo(dsn, passfile=arn)
    fetched: list[bool] = []
    fetch = credentials._secret
    monkeypatch.setattr(credentials, "_secret", lambda *given: fetched.append(given[-1]) or fetch(*given))
    _asks(dsn)
    give("second")
    secrets_manager.put_secret_value(
        SecretId=arn, SecretString=json.dumps({"username": "kept_elsewhere", "password": "second"})
    )
    assert _asks(dsn) == "kept_elsewhere"
    assert fetched == [False, False, True]
    give("third")
    fetched.clear()
    with pytest.raises(Refused, match=r"does not accept the password of kept_elsewhere.*passfile") as refused:
        _asks(dsn)
    assert fetched == [False, True], "once, and no more"
    assert "second" not in str(refused.value)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"username": "somebody_else", "password": "hidden"}, "the secret belongs to another user"),
        ({"password": "hidden"}, "does not contain a login"),
        ({"username": "kept_elsewhere", "password": 7}, "does not contain a login"),
    ],
)
def test_a_secret_of_another_kind_is_refused_and_not_shown(
    secrets_manager: Any, login: Any, secret: dict[str, Any], said: str
) -> None:
    dsn, _ = login
    arn = _kept(secrets_manager, f"rds!db-{said[:3]}-{len(secret)}-{secret['password']}", **secret)
    with pytest.raises(Refused, match=said) as refused:
        _asks(make_conninfo(dsn, passfile=arn))
    assert "hidden" not in str(refused.value).replace(arn, "")
    assert "next: " in str(refused.value)


def test_a_secret_that_is_not_there_is_named(secrets_manager: Any, login: Any) -> None:
    dsn, _ = login
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:nothing-AbCdEf"
    with pytest.raises(Refused, match="read the secret arn:aws:secretsmanager") as refused:
        _asks(make_conninfo(dsn, passfile=arn))
    assert "\n" not in str(refused.value)


def test_a_password_is_kept_as_a_secret_and_forgotten(secrets_manager: Any, login: Any) -> None:
    dsn, give = login
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:task-migration/lab/reader"
    dsn = make_conninfo(dsn, passfile=arn)
    for password in ("one", "two"):
        give(password)
        credentials.keep(dsn, password)
        assert _asks(dsn) == "kept_elsewhere"
    credentials.forget(dsn)
    credentials.forget(dsn)
    with pytest.raises(Refused, match="read the secret"):
        _asks(dsn)


def test_a_password_is_kept_as_a_line_of_its_own(login: Any, tmp_path: Path) -> None:
    dsn, give = login
    passfile = tmp_path / "folder" / "pgpass"
    dsn = make_conninfo(dsn, passfile=str(passfile))
    others = "other.example:5432:*:somebody:theirs"
    passfile.parent.mkdir()
    passfile.write_text(f"{others}\n")
    for password in ("one", "two"):
        give(password)
        credentials.keep(dsn, password)
        assert _asks(dsn) == "kept_elsewhere"
        assert len(passfile.read_text().splitlines()) == 2
        assert passfile.stat().st_mode & 0o777 == 0o600
    credentials.forget(dsn)
    assert passfile.read_text() == f"{others}\n"


def test_iam_signs_a_token_for_the_databases_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-shown")
    given = conninfo_to_dict(credentials.login(f"host={HOST} dbname=task_service user=tm_sync passfile=rds-iam"))
    assert "passfile" not in given
    assert given["sslmode"] == "verify-full", "a token is as good as a password for a quarter of an hour"
    token = urlsplit(f"https://{given['password']}")
    asked = parse_qs(token.query)
    assert (token.hostname, token.port) == (HOST, 5432)
    assert (asked["Action"], asked["DBUser"], asked["X-Amz-Expires"]) == (["connect"], ["tm_sync"], ["900"])
    assert f"/{REGION}/rds-db/" in asked["X-Amz-Credential"][0]
    assert "never-shown" not in str(given)


@pytest.mark.parametrize("where", ["host=task-service.example.com user=tm_sync", f"host={HOST}", "user=tm_sync"])
def test_iam_has_no_token_for_another_name_or_for_nobody(where: str) -> None:
    with pytest.raises(Refused, match=r"(not an address of RDS.*allowed: |needs a user).*next: "):
        credentials.login(f"{where} dbname=task_service passfile=rds-iam")


def test_rds_tells_where_it_keeps_its_own_login(
    aws: str, secrets_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator names that login admin, whatever was asked for."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_RDS", aws)
    client = boto3.client(
        "rds", endpoint_url=aws, region_name=REGION, aws_access_key_id="emulated", aws_secret_access_key="emulated"
    )
    asked = {"Engine": "postgres", "DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20, "MasterUsername": "admin"}
    client.create_db_instance(DBInstanceIdentifier="task-service", ManageMasterUserPassword=True, **asked)
    dsn = f"host={HOST} dbname=task_service user=admin passfile=rds-managed"
    given = conninfo_to_dict(credentials.login(dsn))
    told = client.describe_db_instances(DBInstanceIdentifier="task-service")["DBInstances"][0]["MasterUserSecret"]
    kept = json.loads(secrets_manager.get_secret_value(SecretId=told["SecretArn"])["SecretString"])
    assert given["password"] == kept["password"]
    assert credentials.is_kept_elsewhere(dsn)
    client.create_db_instance(DBInstanceIdentifier="unmanaged", MasterUserPassword="not-managed-1", **asked)
    with pytest.raises(Refused, match="RDS does not manage the password of unmanaged"):
        credentials.login(dsn.replace("host=task-service", "host=unmanaged"))
    with pytest.raises(Refused, match="describe the RDS instance missing"):
        credentials.login(dsn.replace("host=task-service", "host=missing"))


def test_the_roots_of_rds_are_the_default_on_rds_alone() -> None:
    roots = files("task_migration") / "postgres" / "rds_roots.pem"
    assert credentials.parts(f"host={HOST}")["sslrootcert"] == str(roots)
    assert credentials.parts(f"host={HOST} sslrootcert=mine.pem")["sslrootcert"] == "mine.pem"
    assert "sslrootcert" not in credentials.parts("host=db.example.com")
    assert credentials.parts("host=db.example.com")["sslmode"] == "verify-full"
    assert "sslmode" not in credentials.parts("host=127.0.0.1")
    found = x509.load_pem_x509_certificates(roots.read_bytes())
    assert all(one.issuer == one.subject for one in found)
    assert sum(f"Amazon RDS {REGION} Root CA" in one.subject.rfc4514_string() for one in found) == 3


def test_no_password_is_in_what_psycopg_says(login: Any, tmp_path: Path) -> None:
    dsn, _ = login
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:kept_elsewhere:not-to-be-seen\n")
    passfile.chmod(0o600)
    with pytest.raises(Refused) as refused:
        _asks(make_conninfo(dsn, passfile=str(passfile)))
    assert isinstance(refused.value.__cause__, psycopg.OperationalError)
    assert "not-to-be-seen" not in f"{refused.value} {refused.value.__cause__}"

"""Orders in an object store and on a web server: both on loopback, spoken to by the real clients."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import polars as pl
import pytest

from repurchase.errors import OrdersError
from repurchase.orders.log import open_orders, read_orders
from repurchase.settings import Settings

WHOLE = "customer_id,order_id,order_date,amount\na,1,2024-01-31,10.50\nb,2,2024-02-01,20.00\n"
AT_ONCE = Settings(retry_seconds=0)
SECRETS = ("geheim-id", "geheim-key", "geheim-sig")


@dataclass
class Bucket:
    """What the server holds, what it was asked, and how it misbehaves."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    cut_after: int | None = None


class S3(BaseHTTPRequestHandler):
    """ListObjectsV2, HeadObject and GetObject with ranges, for whoever signs with the right id; and plain HTTP."""

    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(self, code: int, body: bytes = b"", **headers: object) -> None:
        self.send_response(code)
        for name, value in {"Connection": "close", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: self.bucket.cut_after])
        self.close_connection = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.bucket.asked.append(f"{self.command} {self.path}")
        signed = "Credential=geheim-id/" in self.headers.get("Authorization", "") or "sig" in query
        if self.bucket.faults:
            self.answer(self.bucket.faults.pop(0))
        elif not signed:
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        elif "list-type" in query:
            self.answer(200, self.listing(query["prefix"][0] if "prefix" in query else ""), Content_Type="text/xml")
        else:
            self.give(unquote(url.path).removeprefix("/shop/"))

    def do_HEAD(self) -> None:
        self.do_GET()

    def give(self, key: str) -> None:
        body = self.bucket.objects.get(key)
        if body is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
            return
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last) + 1 if last else None]
        whole = "Range" not in self.headers
        headers = {} if whole else {"Content_Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"}
        if whole and self.command == "HEAD":
            headers["Content_Length"] = str(len(body))
        self.answer(200 if whole else 206, part, ETag='"x"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT", **headers)

    def listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, body in sorted(self.bucket.objects.items())
            if key.startswith(prefix)
        )
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return f"<ListBucketResult {space}><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()


class Server(ThreadingHTTPServer):
    """Waits for its threads when it is closed."""

    daemon_threads = False


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket named shop, and its credentials in the environment."""
    held = Bucket()
    server = Server(("127.0.0.1", 0), type("Handler", (S3,), {"bucket": held}))
    held.port = server.server_port
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    serving.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "geheim-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim-key")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("repurchase.sources.locations._FIRST_RETRY_SECONDS", 0.01)
    yield held
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.fixture
def parquet(tmp_path: Path) -> bytes:
    frame = pl.DataFrame({"customer_id": ["c"], "order_id": ["3"], "order_date": ["2024-03-01"], "amount": ["1"]})
    frame.write_parquet(tmp_path / "x.parquet")
    return (tmp_path / "x.parquet").read_bytes()


def refusal(source: str, settings: Settings = AT_ONCE) -> str:
    with pytest.raises(OrdersError) as caught:
        read_orders(source, settings=settings)
    message = str(caught.value)
    assert "\n" not in message
    assert not any(secret in f"{message}{caught.value.__cause__!r}" for secret in SECRETS)
    return message


class TestBuckets:
    @pytest.fixture(autouse=True)
    def _objects(self, bucket: Bucket, parquet: bytes) -> None:
        bucket.objects = {
            "orders/day=1/a.csv": WHOLE.encode(),
            "orders/day=2/b.csv.gz": gzip.compress(WHOLE.encode(), mtime=0),
            "orders/day=2/c d.parquet": parquet,
            "orders/_SUCCESS": b"done",
            "orders/readme.md": b"words",
            "other/z.csv": b"nothing",
        }

    @pytest.mark.parametrize(
        ("address", "names", "rows"),
        [
            ("s3://shop/orders/day=1/a.csv", ["day=1/a.csv"], 2),
            ("s3://shop/orders", ["day=1/a.csv", "day=2/b.csv.gz", "day=2/c d.parquet"], 5),
            ("s3://shop/orders/", ["day=1/a.csv", "day=2/b.csv.gz", "day=2/c d.parquet"], 5),
            ("s3://shop/orders/*/*.parquet", ["day=2/c d.parquet"], 1),
            ("s3://shop/orders/day=[2]/?.csv*", ["day=2/b.csv.gz"], 2),
            ("s3://shop/**/?.csv*", ["day=1/a.csv", "day=2/b.csv.gz", "z.csv"], 0),
        ],
    )
    def test_files_folders_and_patterns_are_one_log(
        self, bucket: Bucket, tmp_path: Path, address: str, names: list[str], rows: int
    ) -> None:
        if not rows:
            assert "z.csv" in refusal(address)
            return
        log = open_orders(address, settings=AT_ONCE, spool=tmp_path / "spool")

        assert [file.path for file in log.files] == [f"s3://shop/orders/{name}" for name in names]
        assert log.n_rows == rows == sum(batch.height for batch in log.batches(n_rows=2))
        assert [file.sha256 for file in log.files] == [
            hashlib.sha256(bucket.objects[f"orders/{name}"]).hexdigest() for name in names
        ]

    def test_it_is_the_log_of_the_same_files_here(self, bucket: Bucket, tmp_path: Path) -> None:
        for key, body in bucket.objects.items():
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(body)

        there, here = read_orders("s3://shop/orders", settings=AT_ONCE), read_orders(tmp_path / "orders")

        assert there.rows.equals(here.rows)
        assert there.digest == here.digest
        assert there.notes == here.notes
        assert there.source == "s3://shop/orders"

    def test_each_file_is_fetched_once_however_often_it_is_read(self, bucket: Bucket, tmp_path: Path) -> None:
        log = open_orders("s3://shop/orders/day=1/a.csv", settings=AT_ONCE, spool=tmp_path)
        fetched = len(bucket.asked)

        assert [len(list(log.batches())) for _ in range(3)] == [1, 1, 1]
        assert len(bucket.asked) == fetched
        assert oct((tmp_path / "orders" / "fetched").stat().st_mode)[-3:] == "700"

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("s3://shop/nothing.csv", "no such file or folder. Check the address."),
            ("s3://shop/orders/*.csv", "no file matches. Check the pattern"),
            ("s3://geheim-id:geheim-key@shop/orders", "credentials and options in the address are not taken"),
            ("s3://shop/orders?access_key=geheim-id", "credentials and options in the address are not taken"),
        ],
    )
    def test_what_is_not_there_is_one_line(self, address: str, said: str) -> None:
        assert said in refusal(address)

    def test_a_wrong_key_is_not_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "falsch")

        message = refusal("s3://shop/orders", Settings(retry_seconds=3600))

        assert message.startswith("s3://shop/orders: cannot be read (")
        assert message.endswith("Check the address and the credentials.")
        assert caplog.text == ""

    def test_a_damaged_file_is_named_or_set_aside(self, bucket: Bucket) -> None:
        bucket.objects["orders/day=2/c d.parquet"] = b"PAR1 not really"

        aside = read_orders("s3://shop/orders", settings=Settings(retry_seconds=0, on_bad_file="set_aside"))

        assert refusal("s3://shop/orders").startswith("s3://shop/orders/day=2/c d.parquet: not readable as Parquet (")
        assert aside.rows.height == 4
        assert [fault.path for fault in aside.bad_files] == ["s3://shop/orders/day=2/c d.parquet"]


class TestWebServers:
    @pytest.fixture
    def address(self, bucket: Bucket) -> Callable[[str], str]:
        bucket.objects = {"orders.csv": WHOLE.encode()}
        return lambda name: f"http://127.0.0.1:{bucket.port}/shop/{name}?sig=geheim-sig"

    def test_a_signed_address_is_read_and_its_signature_kept_nowhere(self, address: Callable[[str], str]) -> None:
        raw = read_orders(address("orders.csv"), settings=AT_ONCE)

        assert raw.rows.height == 2
        assert "sig" not in f"{raw}"
        assert raw.files[0].path.endswith("/shop/orders.csv")

    def test_what_is_not_there_is_one_line(
        self, address: Callable[[str], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refusal(address("nothing.csv"), Settings(retry_seconds=3600))

        assert "/shop/nothing.csv: cannot be read (HTTP Error 404: Not Found). Check the address" in said
        assert caplog.text == ""

    def test_a_server_that_fails_for_a_while_is_tried_again(
        self, bucket: Bucket, address: Callable[[str], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.faults = [503, 500]

        assert read_orders(address("orders.csv"), settings=Settings(retry_seconds=30)).rows.height == 2
        assert caplog.text.count("trying again") == 2
        assert "geheim" not in caplog.text

    def test_a_file_that_ends_too_early_is_never_taken_for_whole(
        self, bucket: Bucket, address: Callable[[str], str]
    ) -> None:
        bucket.cut_after = WHOLE.index("b,2")

        said = refusal(address("orders.csv"))

        assert f"cannot be read (it ended after {bucket.cut_after} of {len(WHOLE)} bytes) (1 try within 0 s)." in said

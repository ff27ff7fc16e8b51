"""An S3 store on loopback that checks credentials, and a proxy before it that cuts connections in the middle."""

import contextlib
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

REGION = "us-east-1"


@dataclass
class Store:
    """A running store: its address and the one key that it accepts."""

    endpoint: str
    key: str
    secret: str

    def environment(self, home: Path, **extra: str) -> dict[str, str]:
        """Variables for a process that may use the store, and no other configuration of the machine's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        own = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "HOME": str(home)}
        return {**kept, **own, "AWS_EC2_METADATA_DISABLED": "true", **extra}

    def client(self, service: str = "s3"):
        """A client with the right key."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )


@contextlib.contextmanager
def serve() -> Iterator[Store]:
    """Start a store with one user; from then on requests must be signed with that user's key."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}", "anyone", "anything")
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam = store.client("iam")
    iam.create_user(UserName="team")
    made = iam.create_access_key(UserName="team")["AccessKey"]
    iam.put_user_policy(UserName="team", PolicyName="all", PolicyDocument=json.dumps(allow))
    _let_pass(store, b"0")
    try:
        yield Store(store.endpoint, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        _let_pass(store, b"inf")
        # moto keeps users and buckets for the whole process: the next store must not find these
        urllib.request.urlopen(urllib.request.Request(f"{store.endpoint}/moto-api/reset", method="POST")).close()
        server.stop()


def _let_pass(store: Store, requests: bytes) -> None:
    """How many requests pass before signatures are checked."""
    plain = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{store.endpoint}/moto-api/reset-auth", data=requests, headers=plain)
    urllib.request.urlopen(asked).close()


class Proxy:
    """Passes on so many bytes in all, then cuts every connection, or only the `cuts` next ones."""

    def __init__(self, endpoint: str, limit: int, cuts: float = float("inf")):
        address = urlsplit(endpoint)
        self._to = (address.hostname, address.port)
        self._lock = threading.Lock()
        self.left, self.cuts, self.cut = limit, cuts, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and self._room(len(data)):
                sink.sendall(data)
            sink.sendall(data[: len(data) // 2])
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _room(self, size: int) -> bool:
        with self._lock:
            self.left -= size
            if self.left >= 0 or self.cut >= self.cuts:
                return True
            self.cut += 1
            return False

    def close(self) -> None:
        """Take no further connections."""
        self._listener.close()

"""Put on PYTHONPATH: every Python process then refuses to leave this machine, and writes down that it was asked to."""

import os
import socket
import sys

LOOPBACK = ("localhost", "127.0.0.1", "::1", None, "")


def _refuse(where) -> None:
    if log := os.environ.get("GENESIS_NETWORK_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{where}, asked for by {' '.join(sys.argv)}\n")
    raise OSError(f"this run has no network; asked for {where}")


def _guarded(plain):
    def guard(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            _refuse(address)
        return plain(self, address)

    return guard


def _lookup(host, *args, _plain=socket.getaddrinfo, **kwargs):
    if host not in LOOPBACK:
        _refuse(host)
    return _plain(host, *args, **kwargs)


socket.socket.connect = _guarded(socket.socket.connect)
socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
socket.getaddrinfo = _lookup

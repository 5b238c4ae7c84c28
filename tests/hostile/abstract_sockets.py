"""Looks for a way out through abstract Unix sockets, the network and raw packets.

Verdict: wrong; as a script: wrong.
"""

import os
import socket

for name in ("\0opdlm-listener", "\0/tmp/dbus", "/run/docker.sock", "/var/run/dbus/system_bus_socket"):
    try:
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(name)
            way.send(b"s3cret")
            print("out")
    except OSError:
        pass
for family, kind in ((17, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW)):
    try:
        socket.socket(family, kind).send(b"s3cret")
        print("out")
    except OSError:
        pass
for port in (22, 53, 80, int(os.environ.get("LPORT", 45871))):
    try:
        socket.create_connection(("127.0.0.1", port), 0.1).send(b"s3cret")
        print("out")
    except OSError:
        pass


def f(x):
    return x

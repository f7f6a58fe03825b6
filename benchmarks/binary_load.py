"""Send one large body over and over on keep-alive connections; print one line of JSON.

Run by ``binary.py``. The body comes from a file, and each answer is read to its end and dropped.
"""

import json
import socket
import sys
import threading
import time
from pathlib import Path

BUFFER = 1 << 20


def exchange(connection: socket.socket, request: bytes, buffer: memoryview) -> int:
    """Send a request and read the answer; return the size of its content."""
    connection.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head:
        size = connection.recv_into(buffer)
        if not size:
            raise ConnectionError("the server closed the connection")
        head += bytes(buffer[:size])
    head, _, rest = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(head.decode("latin-1") + rest[:300].decode("latin-1"))
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = (length := int(fields[b"content-length"])) - len(rest)
    while left:
        size = connection.recv_into(buffer, min(left, BUFFER))
        if not size:
            raise ConnectionError("the server closed the connection")
        left -= size
    return length


def main(port: int, path: str, media_type: str, body: bytes, *load: float) -> None:
    connections, seconds = load
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
        f"Accept: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    sizes: list[int] = []
    end = time.perf_counter() + seconds

    def send() -> None:
        buffer = memoryview(bytearray(BUFFER))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < end:
                sizes.append(exchange(connection, request, buffer))

    threads = [threading.Thread(target=send) for _ in range(int(connections))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = {
        "calls": len(sizes),
        "rate": len(sizes) / (time.perf_counter() - began),
        "sizes": sorted(set(sizes)),
    }
    print(f"RESULT {json.dumps(seen)}")


if __name__ == "__main__":
    port, path, media_type, file, *load = sys.argv[1:]
    main(int(port), path, media_type, Path(file).read_bytes(), *map(float, load))

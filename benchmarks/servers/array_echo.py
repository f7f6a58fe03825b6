"""Sends each body back as it came, without parsing HTTP: what the loopback and the load allow."""

import asyncio
import sys

import uvloop

END = b"\r\n\r\n"


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of TCP
        self._transport = transport
        self._body: list[bytes] = []
        self._length: int | None = None

    def data_received(self, data: bytes) -> None:
        if self._length is None:
            head, _, data = data.partition(END)
            (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
            self._length = int(length.partition(b":")[2])
        self._body.append(data)
        if sum(map(len, self._body)) == self._length:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d" % self._length
            self._transport.writelines([head, END, *self._body])
            self._body, self._length = [], None


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

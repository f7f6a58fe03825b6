"""The worker processes of a server under test, seen from outside."""

from pathlib import Path

from e2e.server import Server, wait_until


def workers_of(server: Server) -> list[int]:
    """Return the ids of the worker processes."""
    front = server.process.pid
    children = Path(f"/proc/{front}/task").glob("*/children")
    return sorted(int(pid) for one in children for pid in one.read_text().split())


def files_of(pid: int) -> list[str]:
    """Return what files on disk without a name a process has open, such as bodies."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.endswith(" (deleted)") and not target.startswith("/memfd:"):
            found.append(target)
    return found


def wait_until_no_file_is_open(server: Server) -> None:
    """Wait until neither the server nor its workers have a body open."""

    def are_closed() -> bool:
        return not any(map(files_of, [server.process.pid, *workers_of(server)]))

    wait_until(are_closed, "no body is open", seconds=5)

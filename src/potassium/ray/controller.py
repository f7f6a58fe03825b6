"""Whether Ray's controller is stopping this replica.

Ray tells the app only when nobody waits any more, and has no public way to ask earlier.
"""

import sys

__all__ = ["told_to_stop"]


def told_to_stop() -> bool:
    """Return whether Ray is stopping this replica; False if a version of Ray does not tell."""
    worker = getattr(sys.modules.get("ray._private.worker"), "global_worker", None)
    if worker is None or not getattr(worker, "connected", False):
        return False
    actor = worker.actors.get(worker.core_worker.get_actor_id())
    return bool(getattr(getattr(actor, "_replica_impl", None), "_shutting_down", False))

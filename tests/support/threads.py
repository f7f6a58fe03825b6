"""The GPU threads of this process."""

import threading


def gpu_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "potassium-gpu"]

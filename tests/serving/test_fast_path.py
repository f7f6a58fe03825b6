"""Where in an app a request is routed."""

import pytest

from potassium.serving.fast_path import path_below_mount


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/embed", "", "/embed"),
        ("/model/embed", "/model", "/embed"),
        ("/model/", "/model", "/"),
        ("/model", "/model", ""),
        ("/embed", "/model", "/embed"),  # a server that removes the prefix itself
        ("/modelx", "/model", "/modelx"),
        ("/modelx/embed", "/model", "/modelx/embed"),
        ("/model/model/embed", "/model", "/model/embed"),
    ],
)
def test_the_mount_is_taken_off_where_it_is_a_whole_prefix(
    path: str, root: str, below: str
) -> None:
    """A path that only begins with the same letters as the mount is left unchanged."""
    assert path_below_mount({"path": path, "root_path": root}) == below

"""A replica on a real Ray restores what ``potassium build`` has kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray_serve.cluster import Cluster

SOURCE = """
    from pathlib import Path

    from potassium import Potassium

    app = Potassium("kept")


    @app.init
    def init():
        with Path("WHERE/weights.txt").open() as file:
            weights = file.read()
        with Path("WHERE/inits").open("a") as file:
            file.write("init\\n")
        return {"weights": weights}


    @app.handler("/ask")
    def ask(cache, item: dict):
        return {"weights": cache["weights"]}
"""


def inits(folder: Path) -> int:
    return (folder / "inits").read_text().count("init\n")


@pytest.mark.timeout(300)
def test_init_does_not_run_in_a_replica(cluster: Cluster, tmp_path: Path) -> None:
    """Until something that it has read is another."""
    source = SOURCE.replace("WHERE", str(tmp_path))
    (tmp_path / "weights.txt").write_text("w1")
    file = cluster.next_file(source)
    built = subprocess.run(
        [sys.executable, "-m", "potassium", "build", str(file)],
        cwd=file.parent,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    before = inits(tmp_path)
    assert before > 0
    cluster.deploy_file(file, num_replicas=2)
    with cluster.client() as http:
        for _ in range(10):
            assert http.post("/ask", json={}).json() == {"weights": "w1"}
    assert inits(tmp_path) == before

    (tmp_path / "weights.txt").write_text("w2, which are longer")
    cluster.deploy_file(file, num_replicas=1)
    with cluster.client() as http:
        assert http.post("/ask", json={}).json() == {"weights": "w2, which are longer"}
    assert inits(tmp_path) > before

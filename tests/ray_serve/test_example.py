"""The files of examples/cluster are what Ray, Kubernetes and KubeRay read."""

import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from e2e.server import free_port
from ray_serve.cluster import ENVIRONMENT, needs_ray, until

from potassium import Limits
from potassium.ray.options import stop_seconds

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"

# The fields of a RayService, ray.io/v1, by where they are; pods have those of Kubernetes.
FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {
        "deploymentUnhealthySecondThreshold",
        "excludeHeadPodFromServeSvc",
        "rayClusterConfig",
        "rayClusterDeletionDelaySeconds",
        "serveConfigV2",
        "serveService",
        "serviceUnhealthySecondThreshold",
        "suspend",
        "upgradeStrategy",
    },
    "cluster": {
        "authOptions",
        "autoscalerOptions",
        "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions",
        "headGroupSpec",
        "headServiceAnnotations",
        "managedBy",
        "rayVersion",
        "suspend",
        "upgradeStrategy",
        "workerGroupSpecs",
    },
    "head": {
        "enableIngress",
        "headService",
        "labels",
        "rayStartParams",
        "resources",
        "serviceType",
    },
    "workers": {
        "groupName",
        "idleTimeoutSeconds",
        "labels",
        "maxReplicas",
        "minReplicas",
        "numOfHosts",
        "rayStartParams",
        "replicas",
        "resources",
        "scaleStrategy",
        "suspend",
    },
}


def service() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "rayservice.yaml").read_text("utf-8"))
    return copy.deepcopy(document)  # without the references of YAML


def groups() -> list[dict[str, Any]]:
    cluster = service()["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_kuberay_knows_every_field() -> None:
    """None is misspelled. The whole schema is checked where KUBERAY_CRD says where it is."""
    document = service()
    cluster = document["spec"]["rayClusterConfig"]
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayService")
    assert {*document} <= FIELDS[""]
    assert {*document["spec"]} <= FIELDS["spec"]
    assert {*cluster} <= FIELDS["cluster"]
    assert {*cluster["headGroupSpec"]} <= FIELDS["head"] | {"template"}
    for group in cluster["workerGroupSpecs"]:
        assert {*group} <= FIELDS["workers"] | {"template"}
    for group in groups():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_kuberays_own_schema_is_met() -> None:
    """That of its repository, which no registry of packages has."""
    if (file := os.environ.get("KUBERAY_CRD")) is None:
        pytest.skip("needs ray.io_rayservices.yaml of KubeRay, in KUBERAY_CRD")
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - for this alone

    versions = yaml.safe_load(Path(file).read_text("utf-8"))["spec"]["versions"]
    (schema,) = (one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1")
    for name in ("apiVersion", "kind", "metadata"):
        schema["properties"].setdefault(name, {})
    _close(schema["properties"]["spec"])
    assert [one.message for one in Draft202012Validator(schema).iter_errors(service())] == []


def _close(schema: Any) -> None:
    """Allow no fields that the schema does not name; a number may be text where it says so."""
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema |= {"type": ["integer", "string"]}
        schema.pop("anyOf", None)
    for one in list(schema.values()):
        _close(one)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_pods_are_those_of_kubernetes(version: str) -> None:
    for group in groups():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


def test_pods_have_the_time_that_replicas_need_to_stop() -> None:
    for group in groups():
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= stop_seconds(Limits())


def test_every_node_has_haproxy() -> None:
    """It must be asked for on all of them."""
    for group in groups():
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "1"} in container["env"]


def test_kuberay_runs_what_serve_does() -> None:
    config = yaml.safe_load((FOLDER / "serve.yaml").read_text("utf-8"))
    inside = yaml.safe_load(service()["spec"]["serveConfigV2"])
    assert inside["applications"] == config["applications"]
    assert inside["proxy_location"] == config["proxy_location"]
    workers = groups()[1]
    scale = config["applications"][0]["args"]["autoscaling"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (scale["min"], scale["max"])


def test_all_files_mean_the_same_ray() -> None:
    version = service()["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"=={version}\n" in (FOLDER / "requirements.txt").read_text("utf-8")


def test_ray_reads_the_config() -> None:
    """The file itself, and what KubeRay hands on."""
    needs_ray()
    check = "import sys, yaml; from ray.serve.schema import ServeDeploySchema as Config; "
    check += "Config.model_validate(yaml.safe_load(sys.stdin))"
    texts = [(FOLDER / "serve.yaml").read_text("utf-8"), service()["spec"]["serveConfigV2"]]
    for text in texts:
        subprocess.run([sys.executable, "-c", check], input=text, text=True, check=True)


@pytest.mark.timeout(120)
def test_serve_run_runs_the_config(tmp_path: Path) -> None:
    """As the README says, without a GPU."""
    needs_ray()
    port = free_port()
    text = (FOLDER / "serve.yaml").read_text("utf-8")
    assert ", num_gpus: 1" in text
    local = tmp_path / "local.yaml"
    local.write_text(text.replace(", num_gpus: 1", "").replace("port: 8000", f"port: {port}"))
    temporary = tempfile.mkdtemp(prefix="ray-")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.serve.scripts", "run", str(local)],
            cwd=FOLDER,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                **ENVIRONMENT,
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                "RAY_TMPDIR": temporary,
            },
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as http:

            def answers() -> bool:
                assert process.poll() is None, (tmp_path / "log").read_text()[-5000:]
                try:
                    return http.get("/readyz").is_success
                except httpx.TransportError:
                    return False

            until(answers, "the app is ready", seconds=60)
            answer = http.post("/count", json={"text": "to be or not to be"})
            assert answer.json()["most"][0] == ["to", 2]
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)

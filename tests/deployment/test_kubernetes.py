"""The manifests for Kubernetes are valid, and agree with the code and with one another."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.metrics import promtool

from potassium import Limits, Potassium
from potassium.config import DEFAULT_PORT
from potassium.deployment import ImageFacts, image_facts, stop_seconds
from potassium.deployment.dockerfile import USER
from potassium.testing import client

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
CUSTOM = {
    "scaledobject": "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject.js",
    "podmonitor": "prometheus-operator/_schemas/"
    "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PodMonitor.js",
}
WORKLOADS = ["deployment", "statefulset"]


def manifest(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return document


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(name)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    return dict(found)


@pytest.fixture
def facts(tmp_path: Path) -> ImageFacts:
    """Return what the image of an app with all defaults has."""
    (tmp_path / "app.py").touch()
    return image_facts(str(tmp_path / "app.py"))


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("name", [one for one in NAMES if one not in CUSTOM])
def test_the_schemas_of_kubernetes_are_met(name: str, version: str) -> None:
    """No field is misspelled, and none has a value of the wrong type."""
    kubernetes_validate.validate(manifest(name), version, strict=True)


@pytest.mark.parametrize("name", [*CUSTOM])
def test_the_schemas_of_custom_resources_are_met(name: str) -> None:
    """Those of KEDA and of the Prometheus Operator, which npm has; ``nox -s deploy`` sets it up."""
    modules = os.environ.get("NODE_MODULES")
    if modules is None:
        pytest.skip("needs packages of npm: nox -s deploy")
    document = manifest(name)
    schema = Path(modules) / "@kubernetes-models" / CUSTOM[name]
    script = Path(__file__).parent / "custom_resource.mjs"
    done = subprocess.run(
        ["node", script, schema],  # noqa: S607 - wherever it is
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Unknown fields are let pass: look for their names.
    known = "".join(one.read_text("utf-8") for one in schema.parent.glob("*.js"))
    others = {"triggers", "advanced", "selector"}  # of Kubernetes, or free
    spec = {key: value for key, value in document["spec"].items() if key not in others}
    assert {key for key in keys_of(spec) if not re.search(rf"\b{key}\b", known)} == set()


def keys_of(node: Any) -> set[str]:
    """Return the names of all fields in a document."""
    if isinstance(node, dict):
        return {*node}.union(*map(keys_of, node.values()))
    return set[str]().union(*map(keys_of, node)) if isinstance(node, list) else set()


def test_the_autoscaler_is_told_what_it_knows() -> None:
    """The part that KEDA hands on to Kubernetes meets the schema of Kubernetes."""
    advanced = manifest("scaledobject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "potassium"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "potassium"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 4, **advanced},
    }
    kubernetes_validate.validate(autoscaler, "1.37", strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_drain_is_never_cut_short(name: str) -> None:
    """The time until SIGKILL includes the pause before SIGTERM."""
    command = container(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    needed = int(command[1]) + stop_seconds(Limits())
    assert needed <= pod(name)["terminationGracePeriodSeconds"] <= needed + 10


@pytest.mark.parametrize("name", WORKLOADS)
async def test_probes_ask_where_the_server_answers(name: str, app: Potassium) -> None:
    """At paths that exist and need no key, on its port."""
    app.handler(lambda cache, json_in: json_in)
    spec = container(name)
    probes = {kind: spec[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"http"}
    assert spec["ports"] == [{"name": "http", "containerPort": DEFAULT_PORT}]
    paths = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    async with client(app) as http:
        assert {(await http.get(path)).status_code for path in paths.values()} == {200}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_start_may_take_long(name: str) -> None:
    """Half an hour, and a rollout waits for longer than that."""
    probe = container(name)["startupProbe"]
    longest = probe["periodSeconds"] * probe["failureThreshold"]
    assert longest == 30 * 60
    assert manifest(name)["spec"].get("progressDeadlineSeconds", 2 * longest) > longest


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_pod_is_restricted(name: str) -> None:
    """As the Pod Security Standards say for ``restricted``, and its root is read-only."""
    spec, own = pod(name), container(name)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    ids = ("runAsUser", "runAsGroup", "fsGroup")
    assert {spec["securityContext"][one] for one in ids} == {USER}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & {*spec}
    assert all({*one} & {"emptyDir"} for one in spec["volumes"])


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_server_can_write_where_it_has_to(name: str, facts: ImageFacts) -> None:
    """The folders are those of the image, and each is a volume that there is."""
    mounts = container(name)["volumeMounts"]
    assert {one["mountPath"] for one in mounts} == {str(one) for one in facts.writable}
    claims = manifest(name)["spec"].get("volumeClaimTemplates", [])
    volumes = {one["name"] for one in pod(name)["volumes"]}
    volumes |= {one["metadata"]["name"] for one in claims}
    assert {one["name"] for one in mounts} == volumes


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_service_named_potassium_is_no_port(name: str) -> None:
    """Otherwise POTASSIUM_PORT is a URL, and no server starts."""
    assert manifest("service")["metadata"]["name"] == "potassium"
    assert pod(name)["enableServiceLinks"] is False


def test_both_workloads_run_the_same_server() -> None:
    """All that differs is where background jobs are kept."""
    deployment, stateful = (manifest(name)["spec"]["template"] for name in WORKLOADS)
    volumes = deployment["spec"]["volumes"]
    deployment["spec"]["volumes"] = [one for one in volumes if one["name"] != "jobs"]
    assert deployment == stateful


def test_all_manifests_mean_the_same_pods() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("service")["spec"]["selector"] == labels
    for name in (*WORKLOADS, "poddisruptionbudget", "podmonitor"):
        assert manifest(name)["spec"]["selector"]["matchLabels"] == labels
    names = {manifest(name)["metadata"]["name"] for name in WORKLOADS}
    assert names == {manifest("scaledobject")["spec"]["scaleTargetRef"]["name"]}
    assert manifest("service")["spec"]["ports"][0]["targetPort"] == "http"
    (endpoint,) = manifest("podmonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")


def queries() -> list[str]:
    """Return what the autoscaler asks Prometheus."""
    return [one["metadata"]["query"] for one in manifest("scaledobject")["spec"]["triggers"]]


def test_servers_are_added_while_calls_wait_and_kept_while_they_run() -> None:
    """By metrics that there are, of the job that the PodMonitor makes."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(potassium_\w+)` \|", page, re.MULTILINE))
    waiting, running = queries()
    assert "sum(max_over_time(potassium_queue_length{" in waiting
    assert "sum(rate(potassium_gpu_thread_busy_seconds_total{" in running
    assert set(re.findall(r"potassium_\w+", waiting + running)) <= documented
    assert 'queue="gpu"' in waiting
    assert "(`gpu`)" in page
    label = manifest("podmonitor")["spec"]["jobLabel"]
    job = manifest("deployment")["spec"]["template"]["metadata"]["labels"][label]
    assert all(f'job="{job}"' in query for query in queries())


def test_prometheus_takes_the_queries_of_the_autoscaler(tmp_path: Path) -> None:
    rules = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "keda", "rules": rules}]}))
    promtool("check", "rules", str(file))

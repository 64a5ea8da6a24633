"""What can be said about deploy/kubernetes without a cluster: each object by its schema, and all of them together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from k9ops.config.settings import Settings
from k9ops.config.sources import variable_names
from k9ops.web import health

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SETTINGS = {name for field in Settings.model_fields.values() for name in variable_names(field)}
DRAMATIQS = {"dramatiq_queue_prefetch"}
SCHEMA = "1.32"


def read_objects(folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path in sorted((FOLDER / folder).glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                key = (item["kind"], item["metadata"]["name"])
                assert key not in found
                found[key] = item
    return found


BASE = read_objects("base")
KEDA = read_objects("keda")
PODS = {name: item["spec"]["template"] for (kind, name), item in BASE.items() if kind in ("Deployment", "Job")}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}


@pytest.mark.parametrize("key", BASE, ids="-".join)
def test_object_fits_the_schema_of_kubernetes(key: tuple[str, str]) -> None:
    kubernetes_validate.validate(BASE[key], SCHEMA, strict=True)


def test_schema_refuses_what_is_misspelt() -> None:
    deployment = {**BASE["Deployment", "k9ops-worker"]}
    deployment["spec"] = {**deployment["spec"], "replica": 2}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, SCHEMA, strict=True)


@pytest.mark.parametrize("folder", ["base", "keda", "example"])
def test_kustomization_names_what_is_there(folder: str) -> None:
    kustomization = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["kind"] == ("Component" if folder == "keda" else "Kustomization")
    named = {*kustomization.get("resources", ()), *kustomization.get("components", ())}
    assert all((FOLDER / folder / name).exists() for name in named)
    files = {path.name for path in (FOLDER / folder).iterdir()} - {"kustomization.yaml"}
    assert files <= named
    if folder == "example":
        (image,) = kustomization["images"]
        assert {container["image"].partition(":")[0] for container in CONTAINERS.values()} == {image["name"]}


def test_pods_start_what_compose_starts_and_have_as_long_to_end() -> None:
    assert {name.removeprefix("k9ops-") for name in PODS} == set(COMPOSE) - {"postgres", "redis"}
    for name, pod in PODS.items():
        service = COMPOSE[name.removeprefix("k9ops-")]
        assert CONTAINERS[name]["command"] == service["command"]
        assert CONTAINERS[name]["image"] == service["image"]
        grace_s = pod["spec"]["terminationGracePeriodSeconds"]
        assert grace_s >= int(service["stop_grace_period"].removesuffix("s"))


def test_something_takes_in_the_processes_that_nobody_waits_for() -> None:
    for name, pod in PODS.items():
        assert COMPOSE[name.removeprefix("k9ops-")]["init"] is True
        assert pod["spec"]["shareProcessNamespace"] is True


def test_no_two_of_the_few_stand_on_one_node_and_each_node_can_be_emptied() -> None:
    for (kind, _), item in BASE.items():
        if kind == "Deployment" and item["spec"].get("replicas", 1) > 1:
            (spread,) = item["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert spread["labelSelector"] == item["spec"]["selector"]
            assert spread["topologyKey"] == "kubernetes.io/hostname"
        elif kind == "PodDisruptionBudget":
            assert item["spec"]["maxUnavailable"] == 1
            assert item["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_comment_counts_the_connections_of_all_pods() -> None:
    pods = {name: item["spec"].get("replicas", 1) for (kind, name), item in BASE.items() if kind == "Deployment"}
    pods |= {name: item["spec"]["maxReplicaCount"] for (kind, name), item in KEDA.items() if kind == "ScaledObject"}
    most = sum(pods.values()) * 2 * int(BASE["ConfigMap", "k9ops"]["data"]["K9OPS_POOL_SIZE"])
    assert f"these are {most}." in (FOLDER / "base/config.yaml").read_text(encoding="utf-8")


def test_pods_may_do_nothing_that_they_need_not() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    for pod in PODS.values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert {spec["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


def test_every_variable_is_a_setting_and_no_secret_stands_in_a_manifest() -> None:
    given = dict(BASE["ConfigMap", "k9ops"]["data"])
    for container in CONTAINERS.values():
        assert container["envFrom"] == [{"configMapRef": {"name": "k9ops"}}]
        given |= {item["name"]: item["value"] for item in container.get("env", ())}
    secrets = Settings.model_fields.values()
    secret = {field.json_schema_extra["variable"] for field in secrets if field.json_schema_extra["secret"]}  # type: ignore[index, call-overload]
    for name, value in given.items():
        assert name.removesuffix("_FILE") in SETTINGS | DRAMATIQS, name
        assert name not in secret
        assert "://" not in value
        if name.endswith("_FILE"):
            assert name.removesuffix("_FILE") in secret
            assert value == f"/run/secrets/k9ops/{Path(value).name}"
    assert all(kind != "Secret" for kind, _ in BASE)


def test_every_file_of_a_secret_is_in_the_command_that_makes_it() -> None:
    manual = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*/*.yaml"))
    files = set(re.findall(r"/run/secrets/k9ops/(\w+)", text)) | set(re.findall(r"key: (\w+)\}", text))
    made = set(re.findall(r"--from-file=secrets/(\w+)", manual)) | set(re.findall(r"--from-literal=(\w+)=", manual))
    assert files == made


def test_mounts_volumes_claims_and_selectors_belong_together() -> None:
    claims = {name for kind, name in BASE if kind == "PersistentVolumeClaim"}
    for name, pod in PODS.items():
        volumes = {item["name"]: item for item in pod["spec"]["volumes"]}
        assert {item["name"] for item in CONTAINERS[name]["volumeMounts"]} == set(volumes)
        assert {
            item["persistentVolumeClaim"]["claimName"] for item in volumes.values() if "persistentVolumeClaim" in item
        } <= claims
        folders = {item["mountPath"] for item in CONTAINERS[name]["volumeMounts"]}
        assert "/tmp" in folders  # noqa: S108 - the only place of a container where it may write beside its volumes
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    for (kind, name), item in BASE.items():
        if kind in ("Deployment", "PodDisruptionBudget"):
            wanted = item["spec"]["selector"]["matchLabels"]
        elif kind == "NetworkPolicy":
            wanted = item["spec"]["podSelector"]["matchLabels"]
        elif kind == "Service":
            wanted = item["spec"]["selector"]
        else:
            continue
        assert any(wanted.items() <= found.items() for found in labels), (kind, name)
    deployments = {name for kind, name in BASE if kind == "Deployment"}
    assert {name for kind, name in BASE if kind == "PodDisruptionBudget"} == deployments


def test_ports_and_probes_are_those_of_the_dashboard() -> None:
    port = Settings.model_fields["web_port"].default
    (named,) = CONTAINERS["k9ops-web"]["ports"]
    assert named == {"name": "http", "containerPort": port}
    (service,) = BASE["Service", "k9ops-web"]["spec"]["ports"]
    assert service["targetPort"] == named["name"]
    (rule,) = BASE["NetworkPolicy", "k9ops-web"]["spec"]["ingress"]
    assert [item["port"] for item in rule["ports"]] == [port]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINERS["k9ops-web"][probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    check = re.findall(r"^HEALTHCHECK .* CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    for name in ("worker", "worker-backups", "worker-reports", "scheduler"):
        container = CONTAINERS[f"k9ops-{name}"]
        assert container["readinessProbe"]["exec"]["command"] == yaml.safe_load(check[0])
        assert "livenessProbe" not in container


def test_scaling_reads_figures_that_the_dashboard_gives() -> None:
    metrics = Path(health.__file__).read_text(encoding="utf-8")
    for (kind, name), item in KEDA.items():
        if kind != "ScaledObject":
            continue
        assert item["apiVersion"] == "keda.sh/v1alpha1"
        spec = item["spec"]
        assert spec["scaleTargetRef"] == {"name": name}
        assert "replicas" not in BASE["Deployment", name]["spec"]
        assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        command = CONTAINERS[name]["command"]
        queues = command[command.index("--queues") + 1 :]
        seen = set()
        for trigger in spec["triggers"]:
            figures = trigger["metadata"]
            assert (trigger["type"], figures["format"], figures["authMode"]) == ("metrics-api", "prometheus", "bearer")
            assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in KEDA
            assert figures["url"] == "http://k9ops-web.k9ops.svc/metrics"
            assert float(figures["targetValue"]) > 0
            (family,) = text_string_to_metric_families(f"{figures['valueLocation']} 1\n")
            (sample,) = family.samples
            assert f'"{sample.name}"' in metrics
            assert set(sample.labels) == {"queue", "kind"}
            assert sample.labels["queue"] in queues
            seen.add((sample.labels["queue"], sample.labels["kind"]))
        assert seen == {(queue, kind) for queue in queues for kind in ("due", "running")}

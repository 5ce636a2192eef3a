"""The container files are what their own tools call valid, and agree with the code that they start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.platform import JOBS, SERVER
from infra.settings import PROJECT_ROOT, Settings

INFRA = PROJECT_ROOT / "infra"
KUBERNETES = INFRA / "kubernetes"
PASSWORDS = {
    "REDIS_PASSWORD": "r",
    "POSTGRES_PASSWORD": "p",
    "PREFECT_DATABASE_PASSWORD": "d",
    "POSTGRES_ADMIN_PASSWORD": "a",
    "PREFECT_PASSWORD": "f",
    "GRAFANA_PASSWORD": "g",
}
UID = 10001
"""Of the user in our image."""


def tool(name: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that the lock brings."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, timeout=60)


def compose(*further: str, **passwords: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose's own reading of the file, and of further ones on top; it needs no daemon for that."""
    clean = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    # An operator's own infra/.env must not make up for what is missing here.
    files = [part for name in ("compose.yaml", *further) for part in ("--file", f"infra/{name}")]
    command = ("--env-file", os.devnull, *files, "config", "--format", "json")
    return tool("docker-compose", *command, env=clean | passwords)


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    done = compose(**PASSWORDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


MANIFESTS = [
    document
    for file in sorted(KUBERNETES.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for document in documents(file)
]
KUSTOMIZATION = documents(KUBERNETES / "kustomization.yaml")[0]
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "StatefulSet")
}
CONTAINERS = [
    pytest.param(container, id=f"{pod}-{container['name']}")
    for pod, spec in PODS.items()
    for container in (*spec.get("initContainers", ()), *spec["containers"])
]


def test_the_dockerfile_is_in_order() -> None:
    done = tool("hadolint", "infra/Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_image_gets_everything_that_the_lock_and_the_packages_need() -> None:
    passed = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    packages = {path.parent.name for path in PROJECT_ROOT.glob("*/__init__.py")} - {"benchmarks", "infra"}
    files = {"requirements.lock", "pyproject.toml", "README.md", "LICENSE"}  # of which pip reads the last three
    of_infra = {"infra/*.py", "infra/prefect.yaml", "infra/profiles", "infra/thresholds.toml"}
    assert {line[1:] for line in passed if line.startswith("!")} == packages | files | of_infra


@pytest.mark.parametrize("name", PASSWORDS)
def test_compose_wants_every_password(name: str) -> None:
    done = compose(**{other: value for other, value in PASSWORDS.items() if other != name})
    assert done.returncode != 0
    assert name in done.stderr


def test_the_example_names_every_variable_of_compose() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(\w+)=$", (INFRA / "compose.env.example").read_text(), re.MULTILINE))


def test_the_worker_alone_is_given_a_gpu(composed: dict[str, Any]) -> None:
    done = compose("compose.gpu.yaml", **PASSWORDS)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    [device] = services["worker"]["deploy"]["resources"].pop("reservations")["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert services == composed["services"]


@pytest.fixture(scope="module")
def with_alertmanager(composed: dict[str, Any]) -> dict[str, Any]:
    done = compose("compose.alertmanager.yaml", **PASSWORDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_prometheus_reaches_the_alertmanager_and_that_the_people(
    composed: dict[str, Any], with_alertmanager: dict[str, Any]
) -> None:
    told = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    [[files]] = [found["files"] for found in told[0]["file_sd_configs"]]
    services, networks = with_alertmanager["services"], with_alertmanager["networks"]
    prometheus, alertmanager = services["prometheus"], services["alertmanager"]
    [mounted] = [volume for volume in prometheus["volumes"] if Path(volume["target"]).match(files)]
    [[target]] = [found["targets"] for found in yaml.safe_load(Path(mounted["source"]).read_text())]
    assert target.partition(":")[0] == "alertmanager"
    assert alertmanager["networks"].keys() & prometheus["networks"].keys()
    [own] = alertmanager["networks"].keys() - composed["networks"].keys()
    assert not networks[own].get("internal")
    before = composed["services"]["prometheus"]["volumes"]
    assert services == {
        **composed["services"],
        "alertmanager": alertmanager,
        "prometheus": {**composed["services"]["prometheus"], "volumes": [*before, mounted]},
    }


def test_every_container_is_pinned_bounded_watched_and_no_root(with_alertmanager: dict[str, Any]) -> None:
    no_root = ("kairos", "worker", "prefect", "prometheus", "grafana", "alertmanager")
    for name, service in with_alertmanager["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{name}: {service['image']}"
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name
        assert service["cap_drop"] == ["ALL"], name
        if name == "deployments":  # ends by itself
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped", name
        # That of the service is in the image.
        assert "healthcheck" in service or name == "kairos", name
        # The images that are no root's without being told: ours, Prometheus', its Alertmanager's and Grafana's.
        assert service.get("user", "root") != "root" or name in no_root


def test_what_compose_publishes_is_for_this_machine_alone(composed: dict[str, Any]) -> None:
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in composed["services"].items()
        if "ports" in service
    }
    assert published == {"kairos": ["127.0.0.1"], "prefect": ["127.0.0.1"], "grafana": ["127.0.0.1"]}


def test_redis_keeps_what_the_event_log_promises() -> None:
    told = [line.split() for line in (INFRA / "redis.conf").read_text().splitlines() if not line.startswith("#")]
    assert {name: value for name, value in told if name.startswith(("append", "maxmemory-"))} == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }


def test_every_setting_that_is_told_exists(composed: dict[str, Any]) -> None:
    told = {name for service in composed["services"].values() for name in service.get("environment") or ()}
    told |= {literal.partition("=")[0] for literal in KUSTOMIZATION["configMapGenerator"][0]["literals"]}
    told |= {entry["name"] for container in CONTAINERS for entry in container.values[0].get("env", ())}
    told |= set(re.findall(r"^\s.*?(KAIROS_\w+)=", (INFRA / "Dockerfile").read_text(), re.MULTILINE))
    ours = {name for name in told if name.startswith("KAIROS_")}
    # KAIROS_ROOT is read by prefect.yaml.
    assert ours <= {f"KAIROS_{name.upper()}" for name in Settings.model_fields} | {"KAIROS_ROOT"}
    assert {"KAIROS_PROFILE", "KAIROS_HOME", "KAIROS_EVENT_SPOOL"} <= ours


def test_prefects_server_is_told_the_same_everywhere_and_keeps_its_leases(composed: dict[str, Any]) -> None:
    [pod] = PODS["prefect"]["containers"]
    service = composed["services"]["prefect"]
    in_pod = {entry["name"]: entry.get("value") for entry in pod["env"]}
    for told, mounted in (
        (service["environment"], {volume["target"] for volume in service["volumes"]}),
        (in_pod, {volume["mountPath"] for volume in pod["volumeMounts"] if volume["name"] != "tmp"}),
    ):
        assert told.items() >= SERVER.items()
        assert told["PREFECT_HOME"] in mounted


def test_prefect_answers_those_alone_who_know_its_password(composed: dict[str, Any]) -> None:
    told = {name: service.get("environment") or {} for name, service in composed["services"].items()}
    asked = told["prefect"]["PREFECT_SERVER_API_AUTH_STRING"]
    clients = {name for name, values in told.items() if "PREFECT_API_URL" in values}
    assert clients == {"worker", "deployments"}
    assert {told[name]["PREFECT_API_AUTH_STRING"] for name in clients} == {asked} == {"kairos:f"}
    for container in (PODS["worker"]["initContainers"][0], PODS["worker"]["containers"][0]):
        [password] = [entry["valueFrom"] for entry in container["env"] if entry["name"] == "PREFECT_API_AUTH_STRING"]
        # The server gets the whole secret.
        assert password == {"secretKeyRef": {"name": "prefect", "key": "PREFECT_SERVER_API_AUTH_STRING"}}


def test_the_workers_run_as_many_jobs_at_once_everywhere(composed: dict[str, Any]) -> None:
    in_pod = PODS["worker"]["containers"][0]["command"]
    for command in (composed["services"]["worker"]["command"], in_pod):
        assert command[command.index("--limit") + 1] == str(JOBS)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_follow_kubernetes_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_schema_knows_what_is_wrong() -> None:
    wrong = {**MANIFESTS[0], "specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="specs"):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_kustomize_takes_every_manifest() -> None:
    there = {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == there
    [image] = KUSTOMIZATION["images"]
    compose_too = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]["monitoring"]["image"]
    assert {container.values[0]["image"] for container in CONTAINERS} == {image["name"], compose_too}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_can_do_no_more_than_they_need(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_pods_are_no_root_and_know_no_token(name: str) -> None:
    pod = PODS[name]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, UID)
    assert f"--uid {UID}" in (INFRA / "Dockerfile").read_text()
    [account] = [manifest for manifest in MANIFESTS if manifest["kind"] == "ServiceAccount"]
    assert (pod["serviceAccountName"], account["automountServiceAccountToken"]) == (account["metadata"]["name"], False)
    # A Service named `kairos` would set KAIROS_PORT to an URL, and no setting could be read.
    assert pod["enableServiceLinks"] is False


def test_no_secret_is_in_the_manifests() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS}
    referred = {
        source["secretRef"]["name"]
        for container in CONTAINERS
        for source in container.values[0].get("envFrom", ())
        if "secretRef" in source
    }
    assert referred == {"kairos", "prefect"}

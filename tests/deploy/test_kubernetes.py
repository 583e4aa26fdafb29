"""The manifests: built by kustomize, valid for Kubernetes, and the same processes as in compose."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.install.secret_files import SECRETS
from execution.metrics import GAUGES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.30"
POD_OWNERS = ("Deployment", "StatefulSet", "Job")

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl, no kustomize")
Manifest = dict[str, Any]


def build(name: str) -> list[Manifest]:
    line = ["kubectl", "kustomize", str(FOLDER / name)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return build("example") + build("migrate") + build("buses")


@pytest.fixture(scope="module")
def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod's specification of each process."""
    return {
        manifest["metadata"]["name"].removeprefix("fillcast-"): manifest["spec"]["template"]
        for manifest in manifests
        if manifest["kind"] in POD_OWNERS
    }


def container(pod: Manifest) -> Manifest:
    (found,) = pod["spec"]["containers"]
    return dict(found)


def environment(pod: Manifest) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(pod)["env"]}


NEEDS = "kubernetes-validate has the schemas: 108 MB, so `make test` does not install it"


def test_every_manifest_has_the_schema_of_its_kind(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason=NEEDS)
    for manifest in manifests:
        validate.validate(manifest, VERSION, strict=True)


def test_schema_would_refuse_a_wrong_name(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason=NEEDS)
    wrong = next(dict(m) for m in manifests if m["kind"] == "PodDisruptionBudget")
    wrong["spec"] = {**wrong["spec"], "minAvailabel": 1}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, VERSION, strict=True)


def test_pods_run_what_compose_runs(pods: dict[str, Manifest]) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    ours = {name: s for name, s in services.items() if s.get("image") == "fillcast"}
    assert pods.keys() == ours.keys()
    for name in ("exits", "execution", "maintenance", "sessions"):
        words, theirs = container(pods[name])["command"], shlex.split(ours[name]["command"])
        assert words[words.index("-P") :] == theirs[theirs.index("-P") :]
    assert container(pods["migrate"])["command"] == shlex.split(ours["migrate"]["command"])


def test_every_pod_is_confined(pods: dict[str, Manifest]) -> None:
    for name, pod in pods.items():
        inner, spec = container(pod)["securityContext"], pod["spec"]
        assert inner["readOnlyRootFilesystem"] is True, name
        assert inner["allowPrivilegeEscalation"] is False, name
        assert inner["capabilities"] == {"drop": ["ALL"]}, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert str(spec["securityContext"]["runAsUser"]) in (ROOT / "deploy/Dockerfile").read_text()
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, (
            name
        )  # would set FILLCAST_PORT, which is refused
        assert container(pod)["resources"]["limits"]["memory"] == "1Gi", name
        assert spec["terminationGracePeriodSeconds"] > 30, name


def test_pods_have_the_secrets_of_their_role_only(pods: dict[str, Manifest]) -> None:
    for name, pod in pods.items():
        role = environment(pod)["FILLCAST_DB_ROLE"]
        assert role == {"web": "web", "migrate": "owner"}.get(name, "trade")
        secrets = [v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v]
        assert secrets == [f"fillcast-{role}"], name
        assert role in SECRETS
        mounted = {m["name"]: m["mountPath"] for m in container(pod)["volumeMounts"]}
        assert mounted["secrets"] == environment(pod)["FILLCAST_SECRETS_FOLDER"]
        assert mounted["sends"] == "/srv/fillcast/sends"  # FILLCAST_VAR is in the image


def test_every_process_has_probes_and_none_restarts_for_its_database(
    pods: dict[str, Manifest],
) -> None:
    for name, pod in pods.items():
        if name == "migrate":
            continue
        ready, live = container(pod)["readinessProbe"], container(pod)["livenessProbe"]
        checks = {"web": "web", "beat": "beat", "buses": "alive", "receiver": "alive"}
        check = checks.get(name, "lease")
        assert ready["exec"]["command"] == ["python", "-m", "ops.health", check]
        assert live["exec"]["command"] == [*ready["exec"]["command"], "live"]
        assert live["periodSeconds"] * live["failureThreshold"] >= 300


def test_budget_and_update_leave_one_process_of_each(manifests: list[Manifest]) -> None:
    """Pages, exits, entries and sessions go on while a node is drained or a version replaced."""
    several = {"fillcast-web", "fillcast-exits", "fillcast-execution", "fillcast-sessions"}
    budgets = {m["metadata"]["name"] for m in manifests if m["kind"] == "PodDisruptionBudget"}
    assert budgets == several
    scalers = [m["spec"] for m in manifests if m["kind"] == "HorizontalPodAutoscaler"]
    least = {spec["scaleTargetRef"]["name"]: spec["minReplicas"] for spec in scalers}
    for manifest in manifests:
        if manifest["kind"] != "Deployment":
            continue
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        if name in several:
            assert spec.get("replicas", least.get(name, 0)) >= 2
            assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        else:  # only one may run
            assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_workers_scale_by_how_long_orders_wait(manifests: list[Manifest]) -> None:
    (scaler,) = [m for m in manifests if m["kind"] == "HorizontalPodAutoscaler"]
    (metric,) = scaler["spec"]["metrics"]
    name = metric["external"]["metric"]["name"].removeprefix("fillcast_")
    assert name in {gauge.name for gauge in GAUGES}
    assert scaler["spec"]["scaleTargetRef"]["name"] == "fillcast-execution"


def test_selectors_find_the_pods(manifests: list[Manifest], pods: dict[str, Manifest]) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods.values()]
    for manifest in manifests:
        spec = manifest["spec"]
        selector = spec.get("selector") or spec.get("podSelector") or {}
        wanted = selector.get("matchLabels", selector)
        if wanted:
            assert any(wanted.items() <= given.items() for given in labels), manifest["metadata"]


def test_page_names_every_folder_and_secret() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    for word in ("example", "migrate", "fillcast-settings", "fillcast-$role", *SECRETS):
        assert re.search(rf"\b{re.escape(word)}", page) or word in page, word

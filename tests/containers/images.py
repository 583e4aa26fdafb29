"""The images: those of a registry, or Debian's packages where none can be reached."""

import shutil
import subprocess

from tests.containers.machine import HERE, Machine

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"
MORE = ["postgresql", "redis-server", "caddy", "wget"]
STANDINS = {
    "FILLCAST_BASE_IMAGE": "fillcast-standin",
    "REDIS_IMAGE": "fillcast-standin",
    "CADDY_IMAGE": "fillcast-standin-caddy",
    "POSTGRES_IMAGE": "fillcast-standin-postgres",
}


def build(machine: Machine) -> dict[str, str]:
    """Build Fillcast's image. Return what server.env must name in place of missing images."""
    if machine.run(machine.engine, "pull", "postgres:17", check=False) and _has(
        machine, "postgres:17"
    ):
        machine.run(machine.engine, "build", "-f", "deploy/Dockerfile", "-t", "fillcast", ".")
        return {}
    print("No registry: Debian's packages stand in for python, postgres, redis and caddy.")
    _build_standin(machine)
    own = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro", "--network=host", "--isolation=chroot"]
    for path in ("/etc/pip.conf", "/opt"):  # where this machine finds packages
        own += ["-v", f"{path}:{path}:ro"]
    machine.run(
        "podman", "build", *own, "--build-arg", "BASE=fillcast-standin", "-f", "deploy/Dockerfile",
        "-t", "fillcast", ".",
    )  # fmt: skip
    return STANDINS


def _has(machine: Machine, image: str) -> bool:
    return bool(machine.run(machine.engine, "images", "--quiet", image, check=False).strip())


def _build_standin(machine: Machine) -> None:
    context = machine.folder / "standin"
    shutil.copytree(HERE / "standin", context)
    rootfs = context / "rootfs"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", rootfs, MIRROR],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", rootfs / "etc" / name)
    (rootfs / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (rootfs / "usr/sbin/policy-rc.d").chmod(0o755)
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *MORE], ["clean"]):
        subprocess.run(
            ["chroot", rootfs, "apt-get", "--quiet", *command], check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
    for target in ("base", "postgres", "caddy"):
        tag = "fillcast-standin" + ("" if target == "base" else f"-{target}")
        machine.run(
            "podman", "build", "--isolation=chroot", "--target", target, "-t", tag, str(context)
        )
    shutil.rmtree(rootfs)

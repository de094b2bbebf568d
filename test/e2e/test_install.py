# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make install` puts where (what is built already), and that it works without a configuration file."""

import os
import shlex
import stat
import subprocess

import natpmp
import pytest
from conftest import ROOT, get_build
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS


def install(directory):
    done = subprocess.run(["make", "-C", ROOT, "-o", "all", "install", f"DESTDIR={directory}",
                           "BUILD=" + get_build("release")], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("install")
    install(directory)
    return directory


def test_files(installed):
    for path in ("usr/local/sbin/portreeved", "usr/local/bin/portreeve"):
        assert os.stat(installed / path).st_mode & stat.S_IXUSR, path
    for name in ("core", "upnp", "stun"):
        # Not lib64 nor another place that meson takes for the machine's own.
        assert (installed / f"usr/local/lib/portreeve/portreeve-{name}.so").is_file()
    # Where portreeve looks for it.
    program = installed / "usr/local/libexec/portreeve/portreeve-probe"
    assert os.stat(program).st_mode & stat.S_IXUSR
    done = subprocess.run([installed / "usr/local/bin/portreeve", "probe", "--gateway", "x"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2, "portreeve: probe: --gateway: 'x' is not an IPv4 address\n")
    program = installed / "usr/local/libexec/portreeve/portreeve-doctor"
    assert os.stat(program).st_mode & stat.S_IXUSR
    done = subprocess.run([installed / "usr/local/bin/portreeve", "doctor", "--no-search",
                           "--json"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 7) and '"findings":[' in done.stdout, done
    unit = (installed / "usr/local/lib/systemd/system/portreeve.service").read_text()
    assert "ExecStart=/usr/local/sbin/portreeved\n" in unit
    assert "ExecReload=/usr/local/bin/portreeve reload\n" in unit
    assert (installed / "etc/portreeve/conf.d").is_dir()
    for line in (installed / "etc/portreeve/portreeve.conf").read_text().splitlines():
        assert not line or line[0] in "#[", "defaults are commented out"


def test_changed_configuration_is_kept(installed):
    """An untouched file is replaced, a changed one never."""
    path = installed / "etc/portreeve/portreeve.conf"
    shipped = path.read_text()
    path.write_text(shipped + "[limits]\nleases-total = 7\n")
    assert f"Kept {path}" in install(installed)
    assert path.read_text().endswith("leases-total = 7\n")
    assert (path.parent / "portreeve.conf.default").read_text() == shipped
    path.write_text(shipped)
    assert "Kept" not in install(installed)
    assert not (path.parent / "portreeve.conf.default").exists()


def test_runs_without_configuration(lab, installed):
    """One default route, private LANs: portreeved alone, in its default directories."""
    # Mounts of its own, so that the directories of this machine are not touched.
    local = shlex.quote(str(installed / "usr/local"))
    process = lab.gw.start(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /run && "
         f"mount -t tmpfs none /var/lib && mount --bind {local} /usr/local && "
         "exec /usr/local/sbin/portreeved"])

    def answered():
        assert process.poll() is None, process.output()
        with natpmp.Client(lab.lan1) as client:
            try:
                return natpmp.parse_mapping(
                    client.ask(natpmp.pack_map("udp", 4000, 4000, 600), 0.2), "udp")
            except (TimeoutError, ConnectionRefusedError):
                return None
    assert wait_for(answered, "a mapping").external == 4000
    assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000) is not None
    done = lab.gw.run(["nsenter", "-t", str(process.pid), "-m",
                       "/usr/local/bin/portreeve", "list"])
    assert done.returncode == 0 and "192.168.77.2:4000" in done.stdout, done.stdout
    assert process.stop() == 0


# What apt-get is here: it installs a package and one that this needs, both with units, and
# asks as their scripts do whether these may start.
STUBS = {
    "dpkg-query": """case "$*" in
*-L*) for name in service socket; do echo "/lib/systemd/system/$2.$name"; done
	echo "/usr/lib/systemd/system/$2@.service"; echo /usr/share/doc/x.service ;;
*binary*) cat "$STATE/installed" ;;
*) grep -q "^ii $4" "$STATE/installed" && echo "ii " ;;
esac""",
    "apt-get": """[ -e "$STATE/refuse" ] && exit 100
status=0; /usr/sbin/policy-rc.d || status=$?; echo "policy $status" >>"$STATE/log"
printf 'ii ufw\\nii helper\\n' >>"$STATE/installed" """,
    "systemctl": 'echo "$*" >>"$STATE/log"',
}


@pytest.mark.parametrize("present", [False, True])
def test_packages_start_no_service(tmp_path, present):
    """Neither while they are installed nor at the next boot; what was there stays."""
    if os.geteuid() != 0:
        pytest.skip("needs root: directories are mounted over")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in STUBS.items():
        (programs / name).write_text("#!/bin/sh\n" + text + "\n")
        (programs / name).chmod(0o755)
    (tmp_path / "installed").write_text("ii iptables\nii firewalld\nii old-service\n")
    own = "printf '#!/bin/sh\\nexit 104\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d;"
    script = ("mount -t tmpfs none /usr/sbin; mount -t tmpfs none /run; "
              f"mkdir -p /run/systemd/system; {own if present else ''}"
              f"sh {ROOT}/packaging/install-packages test; echo left $(ls /usr/sbin)")
    for failing in (False, True):
        (tmp_path / "log").write_text("")
        if failing:
            (tmp_path / "installed").write_text("ii iptables\n")
            (tmp_path / "refuse").touch()
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False,
            env=dict(os.environ, STATE=str(tmp_path), PATH=f"{programs}:{os.environ['PATH']}"))
        assert done.stdout.endswith("\nleft policy-rc.d\n" if present else "\nleft\n"), done
        log = (tmp_path / "log").read_text().splitlines()
        if not failing:
            assert log[0] == f"policy {104 if present else 101}", log
            assert sorted(log[1:]) == sorted(
                f"-q disable --now {name}.{kind}" for name in ("ufw", "helper")
                for kind in ("service", "socket")), log

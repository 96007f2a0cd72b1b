"""Terraform as we drive it, against a small program that behaves as it does."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from koalesce.errors import Interrupted, ProvisionError
from koalesce.terraform.binary import find_binary
from koalesce.terraform.client import LOG_FILE, VARIABLES_FILE, Terraform
from koalesce.terraform.events import TerraformEvent
from koalesce.terraform.runner import Grace

VERSION = '{"@level":"info","@message":"Terraform 1.11.4","type":"version","terraform":"1.11.4","ui":"1.2"}'
START = '{"@level":"info","@message":"guard: Creating...","type":"apply_start","hook":{"resource":{"addr":"terraform_data.guard"},"action":"create"}}'
PROGRESS = '{"@level":"info","@message":"x","type":"provision_progress","hook":{"resource":{"addr":"terraform_data.cluster"},"output":"3 nodes"}}'
FAILURE = json.dumps(
    {
        "@level": "error",
        "@message": "Error: local-exec provisioner error",
        "type": "diagnostic",
        "diagnostic": {
            "severity": "error",
            "summary": "local-exec provisioner error",
            "detail": "Error running command 'koalesce local up': exit status 3. Output: no address is free\n",
            "address": "terraform_data.cluster",
            "range": {"filename": "main.tf", "start": {"line": 14, "column": 3}},
        },
    }
)


class Fake:
    """A `terraform` whose every call runs a few lines of shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "root"
        self.folder.mkdir()
        self.binary = folder / "terraform"
        self.events: list[TerraformEvent] = []

    def does(self, script: str) -> Fake:
        self.binary.write_text(f'#!/bin/sh\necho "$@" >> calls\n{script}\n')
        self.binary.chmod(0o755)
        return self

    def says(self, *lines: str, code: int = 0) -> Fake:
        text = "\n".join(lines)
        return self.does(f"cat <<'END'\n{text}\nEND\nexit {code}")

    def terraform(self, cancel: threading.Event | None = None, grace: Grace | None = None) -> Terraform:
        return Terraform(
            self.folder,
            variables={"name": "a"},
            on_event=self.events.append,
            cancel=cancel,
            binary=self.binary,
            grace=grace,
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_apply_streams_what_terraform_says(fake: Fake) -> None:
    fake.says(VERSION, START, PROGRESS, "plain words").terraform().apply()

    assert [(event.type, event.resource, event.output) for event in fake.events] == [
        ("version", "", ""),
        ("apply_start", "terraform_data.guard", ""),
        ("provision_progress", "terraform_data.cluster", "3 nodes"),
        ("raw", "", ""),
    ]
    assert (fake.folder / LOG_FILE).read_text().splitlines() == [VERSION, START, PROGRESS, "plain words"]


def test_events_come_while_terraform_still_works(fake: Fake) -> None:
    """The program waits for a file that the first event's receiver makes: it would hang if output came at the end only."""
    fake.does(f"echo '{VERSION}'; while [ ! -e go ]; do sleep 0.01; done")
    terraform = Terraform(
        fake.folder, on_event=lambda event: (fake.folder / "go").touch(), binary=fake.binary, cancel=threading.Event()
    )

    terraform.apply()

    assert (fake.folder / "go").exists()


def test_commands_never_ask_and_carry_no_variables(fake: Fake) -> None:
    terraform = fake.says(VERSION).terraform()

    terraform.init()
    terraform.plan()
    terraform.apply()
    terraform.destroy()

    assert fake.calls == [
        "init -json -input=false",
        "plan -json -input=false -lock-timeout=60s",
        "apply -json -auto-approve -input=false -refresh=false -lock-timeout=60s",
        "destroy -json -auto-approve -input=false -refresh=false -lock-timeout=60s",
    ]


def test_plugins_come_from_the_mirror_where_it_has_all_of_them(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOALESCE_TERRAFORM_PLUGINS", str(tmp_path / "mirror"))
    (fake.folder / "versions.tf").write_text(
        'terraform {\n  required_providers {\n    a = {\n      source  = "acme/a"\n    }\n  }\n}\n'
    )
    terraform = fake.says(VERSION).terraform()

    terraform.init()
    (tmp_path / "mirror" / "registry.terraform.io" / "acme" / "a" / "1.0.0").mkdir(parents=True)
    terraform.init()

    assert fake.calls == ["init -json -input=false", f"init -json -input=false -plugin-dir={tmp_path}/mirror"]


def test_what_several_instances_of_a_resource_say_alike_is_told_once(fake: Fake) -> None:
    said = json.loads(FAILURE)
    said["diagnostic"] |= {"summary": "no such image", "detail": ""}
    lines = []
    for name in ("w", "cp"):
        said["diagnostic"]["address"] = f'server.node["{name}"]'
        lines.append(json.dumps(said))

    with pytest.raises(ProvisionError) as raised:
        fake.says(VERSION, *lines, code=1).terraform().apply()

    assert raised.value.message.endswith('main.tf:14: server.node["w"], server.node["cp"]: no such image')


def test_variables_are_in_a_file_that_only_we_can_read(fake: Fake) -> None:
    path = fake.folder / VARIABLES_FILE
    path.write_text("{}")
    path.chmod(0o644)

    fake.says(VERSION).terraform()

    assert json.loads(path.read_text()) == {"name": "a"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_foreign_variables_and_folders_do_not_reach_terraform(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_VAR_name", "TF_CLI_ARGS_apply", "TF_WORKSPACE", "TF_DATA_DIR"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("HCLOUD_TOKEN", "secret")

    fake.does("env > seen").terraform().init()

    seen = dict(line.partition("=")[::2] for line in (fake.folder / "seen").read_text().splitlines())
    assert {name: value for name, value in seen.items() if name.startswith("TF_") and name != "TF_CLI_CONFIG_FILE"} == {
        "TF_DATA_DIR": str(fake.folder / ".terraform"),
        "TF_IN_AUTOMATION": "1",
    }
    assert seen["CHECKPOINT_DISABLE"] == "1"
    assert seen["HCLOUD_TOKEN"] == "secret"


def test_a_failed_apply_says_where_and_why(fake: Fake) -> None:
    with pytest.raises(ProvisionError) as caught:
        fake.says(VERSION, FAILURE, code=1).terraform().apply()

    assert caught.value.message == (
        "terraform apply failed: main.tf:14: terraform_data.cluster: local-exec provisioner error: no address is free"
    )
    assert caught.value.hint == f"all it said: {fake.folder / LOG_FILE}"


def test_what_a_provisioner_showed_before_its_error_is_left_out(fake: Fake) -> None:
    failure = FAILURE.replace(
        "Output: no address is free", "Output: 0.1s machine\\nerror: no address is free\\n  hint: free one"
    )

    with pytest.raises(ProvisionError, match=r"provisioner error: no address is free\n  hint: free one\n"):
        fake.says(VERSION, failure, code=1).terraform().apply()


def test_a_full_disk_is_told_whatever_terraform_said_of_it(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    dump = '{"@message":"Emergency state dump","state":{"key":"secret"}}'

    with pytest.raises(ProvisionError) as told:
        fake.says(VERSION, dump, code=1).terraform().apply()

    assert "apply failed: No space left on device" in str(told.value)
    assert "make room on the disk that holds /" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_failure_without_diagnostics_shows_the_last_words(fake: Fake) -> None:
    with pytest.raises(ProvisionError, match=r"exit code 7\nout of memory\n  hint: the program is /.*terraform.log$"):
        fake.does("echo out of memory >&2; exit 7").terraform().apply()


@pytest.mark.parametrize(
    "summary", ["Failed to query available provider packages", "Failed to resolve provider packages"]
)
def test_a_missing_plugin_is_one_clear_error(fake: Fake, summary: str) -> None:
    diagnostic = {"severity": "error", "summary": summary, "detail": "no hcloud"}
    line = json.dumps({"@message": "Error", "type": "diagnostic", "diagnostic": diagnostic})

    with pytest.raises(ProvisionError) as caught:
        fake.says(line, code=1).terraform().init()

    assert caught.value.message == f"terraform init failed: {summary}: no hcloud"
    assert "plugin could not be had" in (caught.value.hint or "")


@pytest.mark.parametrize(("source", "is_built"), [("hetznercloud/hcloud", True), ("acme/acme", False)])
def test_a_plugin_that_can_be_built_is_said_to_be(fake: Fake, source: str, is_built: bool) -> None:
    detail = f"provider registry.terraform.io/{source} was not found in any of the search locations"
    diagnostic = {"severity": "error", "summary": "Failed to query available provider packages", "detail": detail}
    line = json.dumps({"@message": "Error", "type": "diagnostic", "diagnostic": diagnostic})

    with pytest.raises(ProvisionError) as caught:
        fake.says(line, code=1).terraform().init()

    assert (caught.value.hint or "").endswith("; `koalesce toolchain plugin hcloud` builds it") == is_built


def test_an_old_terraform_is_named_as_such(fake: Fake) -> None:
    with pytest.raises(ProvisionError, match="is too old: it has no `apply -json`"):
        fake.does("echo 'flag provided but not defined: -json' >&2; exit 1").terraform().apply()


@pytest.mark.parametrize(
    "complaint", ["flag provided but not defined: -json", "\\033[31mUsage: terraform [global options] init [options]"]
)
def test_an_init_without_events_is_run_again_for_its_text(fake: Fake, complaint: str) -> None:
    """As that of Terraform 1.6, which prints its usage."""
    terraform = fake.does(f"case $2 in -json) printf '{complaint}\\n' >&2; exit 1;; esac; echo done").terraform()

    terraform.init()

    assert fake.calls == ["init -json -input=false", "init -input=false -no-color"]


def test_an_init_that_fails_in_words_is_told_in_them(fake: Fake) -> None:
    with pytest.raises(ProvisionError, match="Unsupported Terraform Core version") as caught:
        fake.does(
            "case $2 in -json) echo Usage: terraform >&2;; *) echo Unsupported Terraform Core version >&2;; esac; exit 1"
        ).terraform().init()

    assert caught.value.hint == "use Terraform 1.5 or OpenTofu 1.6, or newer"


@pytest.mark.parametrize(
    ("summary", "hint"),
    [
        ("Unsupported Terraform Core version", "use Terraform 1.5 or OpenTofu 1.6, or newer"),
        ("Unsupported OpenTofu Core version", "use Terraform 1.5 or OpenTofu 1.6, or newer"),
        ("Error acquiring the state lock", "another Terraform is at work there"),
    ],
)
def test_what_is_to_be_done_about_errors_that_are_known_is_said(fake: Fake, summary: str, hint: str) -> None:
    diagnostic = {"severity": "error", "summary": summary, "detail": "for a reason"}
    line = json.dumps({"@message": "Error", "type": "diagnostic", "diagnostic": diagnostic})

    with pytest.raises(ProvisionError, match=f"{summary}: for a reason") as caught:
        fake.says(VERSION, line, code=1).terraform().apply()

    assert (caught.value.hint or "").startswith(hint)


def test_a_plugin_that_trusts_nobody_at_this_time_has_the_clock_named(fake: Fake) -> None:
    detail = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-11-01T00:00:00Z"
    diagnostic = {"severity": "error", "summary": 'Get "https://api.example/v1/servers"', "detail": detail}
    line = json.dumps({"@message": "Error", "type": "diagnostic", "diagnostic": diagnostic})

    with pytest.raises(ProvisionError, match="expired or is not yet valid") as caught:
        fake.says(VERSION, line, code=1).terraform().apply()

    assert (caught.value.hint or "").startswith("is this machine's clock right? It says 20")


def test_a_stream_of_another_major_version_is_refused(fake: Fake) -> None:
    with pytest.raises(ProvisionError, match=r"version 2\.0 of its event stream"):
        fake.says(VERSION.replace('"1.2"', '"2.0"')).terraform().apply()


def test_output_gives_values(fake: Fake) -> None:
    document = {
        "contract": {"sensitive": False, "type": "number", "value": 1},
        "key": {"sensitive": True, "value": "k"},
    }

    assert fake.says(json.dumps(document, indent=2)).terraform().output() == {"contract": 1, "key": "k"}


def test_outputs_are_found_behind_what_opentofu_says_of_its_settings(fake: Fake) -> None:
    said = 'Warning: Unable to open CLI configuration file\n\nThe CLI configuration file at "/x" does not exist.'

    assert fake.says(*said.splitlines(), '{"contract": {"value": 1}}').terraform().output() == {"contract": 1}


def test_outputs_that_apply_told_are_not_asked_for_again(fake: Fake) -> None:
    planned = '{"@message":"Outputs: 1","type":"outputs","outputs":{"n":{"sensitive":false,"action":"create"}}}'
    applied = '{"@message":"Outputs: 1","type":"outputs","outputs":{"n":{"sensitive":false,"type":"number","value":1}}}'
    terraform = fake.says(VERSION, planned, applied).terraform()

    terraform.apply()

    assert terraform.output() == {"n": 1}
    assert len(fake.calls) == 1


def test_outputs_that_apply_keeps_for_itself_are_asked_for(fake: Fake) -> None:
    told = '{"@message":"Outputs: 1","type":"outputs","outputs":{"n":{"sensitive":true,"type":"number"}}}'
    terraform = fake.does(f"""case $1 in apply) echo '{told}';; *) echo '{{"n": {{"value": 1}}}}';; esac""").terraform()

    terraform.apply()

    assert terraform.output() == {"n": 1}
    assert fake.calls[1:] == ["output -json -no-color"]


@pytest.mark.parametrize("script", ["echo '[1]'", "echo nothing", "echo '{\"a\": 1}'"])
def test_output_refuses_what_is_no_output(fake: Fake, script: str) -> None:
    with pytest.raises(ProvisionError, match="something else than outputs"):
        fake.does(script).terraform().output()


def test_output_says_why_it_failed(fake: Fake) -> None:
    with pytest.raises(ProvisionError, match="terraform output failed: Error: no state"):
        fake.does("echo 'Error: no state' >&2; exit 1").terraform().output()


def test_a_cancelled_command_gets_one_interrupt(fake: Fake) -> None:
    """The first SIGINT is noted; the program ends only later, and a second one within the grace would be noted too."""
    fake.does("trap 'echo int >> signals' INT; touch ready; while [ ! -s signals ]; do sleep 0.01; done; sleep 0.1")

    cancel = _cancelled_when(fake.folder / "ready")
    with pytest.raises(Interrupted):
        fake.terraform(cancel).apply()

    assert (fake.folder / "signals").read_text() == "int\n"


def test_an_interrupt_that_is_ignored_is_followed_by_a_second(fake: Fake) -> None:
    fake.does("trap 'echo int >> signals' INT; touch ready; until [ \"$(wc -l < signals)\" = 2 ]; do sleep 0.01; done")
    (fake.folder / "signals").touch()

    with pytest.raises(Interrupted):
        fake.terraform(_cancelled_when(fake.folder / "ready"), Grace(second_interrupt=0.2)).apply()

    assert (fake.folder / "signals").read_text() == "int\nint\n"


def test_a_hanging_terraform_is_killed_after_both_graces(fake: Fake) -> None:
    fake.does("trap 'echo int >> signals' INT; touch ready; while :; do sleep 0.01; done")

    with pytest.raises(Interrupted):
        fake.terraform(_cancelled_when(fake.folder / "ready"), Grace(second_interrupt=0.1, kill=0.1)).apply()

    assert (fake.folder / "signals").read_text().startswith("int\n")


def test_a_state_folder_that_cannot_be_written_does_not_keep_terraform_from_planning(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOALESCE_STATE_DIR", "/proc/no/such/folder")

    assert fake.says(VERSION).terraform().plan() == []


def test_a_run_leaves_no_note(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))

    fake.does("ls ../state/terraform-runs > during").terraform().apply()
    with pytest.raises(ProvisionError):
        fake.does("exit 1").terraform().apply()

    assert (fake.folder / "during").read_text().strip()
    assert not (tmp_path / "state" / "terraform-runs").exists()


def test_nothing_starts_once_cancelled(fake: Fake) -> None:
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(Interrupted):
        fake.does("exit 0").terraform(cancel).apply()

    assert not (fake.folder / "calls").exists()


def test_what_provisioners_leave_running_is_ended(fake: Fake) -> None:
    """It also holds our files open, and ignores SIGINT: the command must end nevertheless."""
    fake.does("(trap '' INT; exec sleep 300) & echo $! > leftover; exit 1")

    with pytest.raises(ProvisionError):
        fake.terraform().apply()

    assert not _is_alive(int((fake.folder / "leftover").read_text()))


def test_terraform_comes_to_its_end_when_we_are_killed(fake: Fake, tmp_path: Path) -> None:
    """A runner of its own is killed while the program waits; what the program prints afterwards must not end it."""
    fake.does("touch ready; while [ ! -e go ]; do sleep 0.01; done; echo 1; echo 2; echo done > end")
    code = "import sys; from pathlib import Path; from koalesce.terraform import Terraform; "
    code += "Terraform(Path(sys.argv[1]), binary=Path(sys.argv[2])).apply()"
    with subprocess.Popen([sys.executable, "-c", code, fake.folder, fake.binary]) as runner:
        _await(fake.folder / "ready")
        runner.kill()

    (fake.folder / "go").touch()

    _await(fake.folder / "end")


def test_processes_in_sessions_of_their_own_stay(fake: Fake) -> None:
    """The supervisor of a local cluster is one."""
    fake.does(
        "setsid sh -c 'echo $$ > daemon; exec sleep 300' > /dev/null 2>&1 & while [ ! -s daemon ]; do sleep 0.01; done"
    )

    fake.terraform().apply()

    daemon = int((fake.folder / "daemon").read_text())
    try:
        assert _is_alive(daemon)
    finally:
        os.kill(daemon, 9)


def test_a_missing_binary_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="neither terraform nor tofu is on the PATH"):
        find_binary({"PATH": str(tmp_path)})


def test_tofu_serves_where_terraform_is_missing(tmp_path: Path) -> None:
    tofu = tmp_path / "tofu"
    tofu.write_text("#!/bin/sh\n")
    tofu.chmod(0o755)

    assert find_binary({"PATH": str(tmp_path)}) == tofu


def test_a_chosen_binary_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="KOALESCE_TERRAFORM is /nowhere/tf, which is no program"):
        find_binary({"PATH": str(tmp_path), "KOALESCE_TERRAFORM": "/nowhere/tf"})


class _FileSet(threading.Event):
    """Set once a file is there."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def is_set(self) -> bool:
        return self._path.exists()


def _cancelled_when(path: Path) -> threading.Event:
    return _FileSet(path)


def _await(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

"""The examples for cron, systemd and Kubernetes: read by their own tools where those are here, and the command in each is one of ours."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from recsys.cli import main

FOLDER = Path(__file__).parents[1] / "examples" / "scheduling"
RECSYS = Path(sys.executable).with_name("recsys")


def cron_lines() -> list[str]:
    lines = (FOLDER / "crontab").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / name)
    return parser


def cronjob() -> dict:
    return yaml.safe_load((FOLDER / "recsys-nightly.yaml").read_text())


def commands() -> dict[str, list[str]]:
    """The words of the command in each file, from `recsys` on."""
    shell = cron_lines()[-1].split(maxsplit=5)[5]
    (called,) = [part for part in shell.split("&&") if "recsys" in part and not part.strip().startswith("cd ")]
    return {
        "crontab": shlex.split(re.sub(r"2?>>?.*", "", called)),
        "recsys-nightly.service": shlex.split(unit("recsys-nightly.service")["Service"]["ExecStart"]),
        "recsys-nightly.yaml": cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"],
    }


@pytest.mark.parametrize("name", ["crontab", "recsys-nightly.service", "recsys-nightly.yaml"])
def test_the_command_is_one_that_recsys_knows(name: str) -> None:
    program, command, *arguments = commands()[name]
    assert Path(program).name == "recsys"
    assert command == "nightly"
    parsed = main.commands[command].make_context(command, arguments)
    assert parsed.params["config_path"] == Path("/srv/shop/recsys.toml")
    with pytest.raises(click.NoSuchOption):
        main.commands[command].make_context(command, [*arguments, "--nonsense"])


def test_every_file_of_the_folder_is_looked_at() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*commands(), "recsys-nightly.timer"}


# -- cron --------------------------------------------------------------------------------------------------------------


def test_the_crontab_has_variables_and_one_line_of_a_time_and_a_command() -> None:
    *variables, line = cron_lines()
    assert all(re.fullmatch(r"[A-Z_]+=\S+", variable) for variable in variables)
    minute, hour, *days, _ = line.split(maxsplit=5)
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert days == ["*", "*", "*"]
    assert "%" not in line  # cron would make a line break of it


def test_cron_reads_the_crontab() -> None:
    if not shutil.which("crontab"):
        pytest.skip("crontab is not installed here")
    usage = subprocess.run(["crontab", "-?"], capture_output=True, text=True)
    flag = next((flag for flag in ("-T", "-n") if f"{flag} " in usage.stdout + usage.stderr), None)  # cronie's, Debian's
    if not flag:
        pytest.skip("this crontab has no dry run")
    assert subprocess.run(["crontab", flag, str(FOLDER / "crontab")]).returncode == 0


# -- systemd -----------------------------------------------------------------------------------------------------------


def test_the_timer_starts_the_service_once_a_day_and_makes_up_for_a_missed_night() -> None:
    timer, service = unit("recsys-nightly.timer"), unit("recsys-nightly.service")
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d UTC", timer["Timer"]["OnCalendar"])
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["TimeoutStartSec"] == "infinity"
    assert "Install" not in service  # only the timer is enabled


def verified(folder: Path, spoil: tuple[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """What systemd says of the units, with the program that is here in the place of the shop's."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    for name in ("recsys-nightly.service", "recsys-nightly.timer"):
        text = (FOLDER / name).read_text().replace("/srv/shop/.venv/bin/recsys", str(RECSYS))
        (folder / name).write_text(text.replace(*spoil) if spoil else text)
    units = [str(folder / name) for name in ("recsys-nightly.service", "recsys-nightly.timer")]
    return subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    found = verified(tmp_path)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize(("right", "wrong"), [("Nice=", "Nicer="), ("03:15:00", "33:15:00"), (str(RECSYS), "/no/such/program")])
def test_systemd_would_have_found_a_fault(tmp_path: Path, right: str, wrong: str) -> None:
    found = verified(tmp_path, (right, wrong))
    assert found.stdout + found.stderr


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def test_the_cron_job_lets_no_two_run_and_asks_a_person_where_the_night_is_refused() -> None:
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert re.fullmatch(r"\d+ \d+ \* \* \*", job["spec"]["schedule"])
    one = job["spec"]["jobTemplate"]["spec"]
    pod = one["template"]["spec"]
    (rule,) = one["podFailurePolicy"]["rules"]
    assert pod["restartPolicy"] == "Never"  # a pod failure policy asks for it
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [1])
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def decoded(text: str, folder: Path) -> dict:
    """What Kubernetes' own types hold of a manifest, without a cluster: a field that they do not know is lost, a wrong type is an error."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed here")
    (folder / "job.yaml").write_text(text)
    ask = ["kubectl", "set", "image", "--local", "-o", "json", "-f", str(folder / "job.yaml"), "recsys=another:1"]
    found = subprocess.run(ask, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def lost(asked: object, kept: object, place: str = "") -> list[str]:
    """Places of what is in `asked` and not, or otherwise, in `kept`."""
    if isinstance(asked, dict):
        inside = kept if isinstance(kept, dict) else {}
        return [fault for key, value in asked.items() for fault in lost(value, inside.get(key), f"{place}.{key}")]
    if isinstance(asked, list):
        inside = kept if isinstance(kept, list) and len(kept) == len(asked) else [None] * len(asked)
        return [fault for number, value in enumerate(asked) for fault in lost(value, inside[number], f"{place}[{number}]")]
    return [] if asked == kept else [place]


def test_kubernetes_knows_every_field(tmp_path: Path) -> None:
    text = (FOLDER / "recsys-nightly.yaml").read_text()
    assert lost(cronjob(), decoded(text, tmp_path)) == [".spec.jobTemplate.spec.template.spec.containers[0].image"]  # that was replaced
    misspelt = text.replace("concurrencyPolicy", "concurencyPolicy")
    assert ".spec.concurencyPolicy" in lost(yaml.safe_load(misspelt), decoded(misspelt, tmp_path))
    with pytest.raises(AssertionError, match="cannot unmarshal"):
        decoded(text.replace("backoffLimit: 1", "backoffLimit: once"), tmp_path)

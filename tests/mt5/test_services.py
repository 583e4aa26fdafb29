"""The service files of docs/metatrader5.md: all start the same worker, and know its settings."""

import re
from pathlib import Path
from xml.etree import ElementTree

from brokers.mt5.own_terminal import TerminalEndpoint
from config.env import VARIABLES, Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "windows"
FILES = ("fillcast-mt5-alpha.xml", "fillcast-mt5-alpha.cmd", "fillcast-mt5-alpha.service")


def test_all_start_the_terminals_worker() -> None:
    known = {variable.name for variable in VARIABLES}
    for name in FILES:
        text = (FOLDER / name).read_text()
        assert "-m celery -A config worker -Q mt5.alpha --pool threads" in text, name
        assert "FILLCAST_MT5_TERMINAL=alpha=" in text.replace('" value="', "=")
        assert set(re.findall(r"FILLCAST_[A-Z0-9_]+", text)) <= known


def test_winsw_reads_it() -> None:
    root = ElementTree.fromstring((FOLDER / FILES[0]).read_text())
    environment = {
        element.attrib["name"]: element.attrib["value"] for element in root.findall("env")
    }
    settings = Settings.read(environment | {"FILLCAST_ENV_FILE": "x"})
    expected = TerminalEndpoint("C:\\mt5\\alpha\\terminal64.exe", portable=True, name="alpha")
    assert settings.mt5_terminal == expected


def test_docs_name_the_files() -> None:
    page = (ROOT / "docs" / "metatrader5.md").read_text()
    for name in FILES:
        assert f"deploy/windows/{name}" in page

"""docs/operational-settings.md, written from the document's classes."""
# ruff: noqa: E501  # the lines of a page

import json

from common.operational.reading import GROUPS, KEYS

HEAD = """\
# Operational settings

`manage.py settings_reference` writes this file from common/operational/document.py.

They change while Fillcast runs: a new version is in force in every process within two seconds, and no process is
restarted. What a process needs to start is in the environment: [settings](settings.md). Why they are separate:
[ADR 0069](adr/0069-operational-settings-are-versions-in-the-database.md).

## Change them
- **Console → Settings**: a form in groups, the difference before you save, the reason, all versions, and a button that
  restores one. Administrators change them; all staff read them.
- **API**: `GET /api/v1/settings/current/`, `POST /api/v1/settings/` with `document`, `why` and, so that no other change
  is lost, `base`; `GET /api/v1/settings/`, `POST /api/v1/settings/{id}/restore/`.
- **Command**: `manage.py operational_settings show|check|import|set|export|history|restore`.
- **A central source**: `FILLCAST_SETTINGS_SOURCE` names a JSON file or an `https://` URL. It holds until a version is
  stored. The maintenance worker reads it every ten seconds; each new text becomes a version. What a person changes
  meanwhile stays until the source changes again. With `#ed25519=KEY` (the public key's 32 bytes in base64) behind the
  URL, its header `X-Fillcast-Signature` must sign the body. If the variable has the JSON itself, it becomes a version in
  production, too, when the maintenance worker starts with another text. The first JSON that is found after a version
  was stored is only noted: it was the base of that version, and what a person changed since stays.

A document is JSON, and names only what it changes:

```json
{"order_defaults": {"max_slippage_pips": 3}, "execution": {"poll_seconds": 1}}
```

`order_defaults.max_slippage_pips` is null by default: a market entry for which no signal, preset or subscription states a
limit fills at the market's price. The specification's 3 pips hold once its document is imported. Market entries of
currency pairs and metals are refused then when the market is further than that from the signal's `open_price`, if only
by a wide spread, and on accounts that cannot keep a limit (`SLIPPAGE_NOT_KEPT`).

It is checked as a whole. Unknown keys, wrong types, values outside of their limits and pairs that contradict each other
are reported together, each with its path; then nothing of it is used. Who saves while another version was stored
meanwhile is refused (`STATE_CONFLICT`), so no change is lost. Rows are only added, and each is on the audit trail.

## If something is wrong
| what | what happens | what to do |
| --- | --- | --- |
| a stored version is invalid (another release wrote it, or a person by SQL) | the last valid version stays in force in all processes, also in those that start; `settings.refused` alerts operators, `fillcast_settings_invalid` is 1, `manage.py doctor` and the page state why | save valid settings or restore a version |
| the central source is invalid or forged | nothing of it is used; one alert for each text | correct it; `manage.py operational_settings check FILE` shows every fault |
| the central source does not answer | what is in force stays; `manage.py doctor` states it | nothing urgent |
| the database does not answer | each process goes on with what it has. One that starts waits for it | |
| a variable that became an operational setting is still set | the process does not start and names the setting | `python -m config.old_variables` prints the document; then [remove the variable](upgrades.md#variables-that-became-settings) |

A limit that is stricter applies to what is sent from then on; orders that a broker already has stay as they are. What a
call was claimed with (send deadline, answer time) stays as it was claimed.
"""


def reference() -> str:
    """Return docs/operational-settings.md."""
    lines = [HEAD]
    for name, group in GROUPS.items():
        lines += [f"## {group.metadata['title']}: `{name}`", ""]
        lines += ["| key | expected | default | |", "|---|---|---|---|"]
        for key in KEYS.values():
            if key.group == name:
                default = json.dumps(key.kind.write(key.default))
                lines.append(
                    f"| `{key.name}` | {key.kind.expected} | `{default}` | {key.sentence} |"
                )
        lines.append("")
    return "\n".join(lines)

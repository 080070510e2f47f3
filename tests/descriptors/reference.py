"""Generator of docs/descriptor.md and of the JSON Schema of descriptors, from the model.

``python tests/descriptors/reference.py`` writes both.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from microflow.descriptors.model import ColumnModel, DescriptorModel, HierarchyModel, SourceModel, UrgencyModel
from microflow.schema import Role

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "descriptor.md"
SCHEMA = ROOT / "src" / "microflow" / "descriptors" / "descriptor.schema.json"

_HEAD = """# The descriptor

A descriptor is a YAML file that states what the columns of a data set mean. `microflow describe FILE` writes one. This
page lists every key that a descriptor may contain. It is generated from the program that reads descriptors.

A scalar is read as the text that is written, so `01`, `No` and `12:30` remain texts, unless a key needs another type. A
key that is not listed here, or that is written twice, is an error. The message names the line and a similar key.

```yaml
name: visits
policy: hipaa
source: {delimiter: ";", encoding: cp1252, decimal: ",", missing: [NA]}
columns:
  visit: {role: record_id, type: integer}
  patient: {role: person}
  born: {role: quasi_identifier, type: date, format: DD.MM.YYYY, kind: date}
  zip: {role: quasi_identifier, kind: zip, hierarchy: {prefix: [5, 3, 0]}}
  charges: {role: sensitive, type: number, format: "$1,234.50", low: 0, high: 100000}
  remarks: {role: free_text}
```
"""


def schema() -> str:
    """The JSON Schema that editors read."""
    return json.dumps(msgspec.json.schema(DescriptorModel), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, model in (
        ("Top level", DescriptorModel),
        ("`source:`", SourceModel),
        ("An entry of `columns:`", ColumnModel),
        ("`hierarchy:`", HierarchyModel),
        ("An entry of `urgent:`", UrgencyModel),
    ):
        parts.append(f"## {title}\n\n{_table(model)}")
    docs = dict(re.findall(r'    (\w+) = "\w+"\n    """(.*?)"""', inspect.getsource(Role), re.DOTALL))
    roles = [f"| `{role.value}` | {' '.join(docs.get(role.name, '').split())} |" for role in Role]
    parts.append("## Roles\n\n| role | meaning |\n| --- | --- |\n" + "\n".join(roles) + "\n")
    return "\n".join(parts)


def _table(model: type[msgspec.Struct]) -> str:
    definitions = msgspec.json.schema(model)["$defs"]
    entries = definitions[model.__name__]
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for name, entry in entries["properties"].items():
        default = "" if name in entries.get("required", ()) else _written(entry.get("default"))
        lines.append(f"| `{name}` | {_may_be(entry, definitions)} | {default} | {entry['description']} |")
    return "\n".join(lines) + "\n"


def _may_be(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in entry:
        parts = [_may_be(one, definitions) for one in entry["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "allOf" in entry:
        return _may_be(entry["allOf"][0], definitions)
    if "$ref" in entry:
        target = definitions[entry["$ref"].rsplit("/", 1)[1]]
        return _may_be(target, definitions) if "enum" in target else "a mapping"
    if "enum" in entry:
        return ", ".join(f"`{word}`" for word in entry["enum"])
    named = {
        "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "`true` or `false`",
        "object": "a mapping",
    }  # fmt: skip
    if entry.get("type") == "array":
        return f"a list of {_may_be(entry['items'], definitions).removeprefix('a ')}s"
    return named.get(entry.get("type", ""), "a mapping")


def _written(default: Any) -> str:
    if default in (None, "", [], {}):
        return "–"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    SCHEMA.write_text(schema(), "utf-8")

#!/usr/bin/env python3
"""Weaves the deliberate bugs of the tables into copies of the engine.

weave.py SRC OUT TABLE...

SRC is src; the copies of its FOLDERS go to OUT, the list of mutants to OUT/mutants/table.hpp. A table says which
simulator its mutants are for; nodes, if it does not. `nodes` counts nodes or voters. In a replacement the word MUTANT
becomes a call that says whether this mutant is switched on. An edit without it may only add lines, for instance
a member. An original text that is not in its file exactly once is an error: an engine that changes takes its mutants
along.
"""

import pathlib
import re
import sys
import tomllib

FOLDERS = ("base", "core", "consensus", "storage", "group", "client", "replica")
SIMULATORS = ("nodes", "replicas", "machines", "clients")
SWITCH = '#include "mutants/switch.hpp"\n'
FIELDS = {"name": str, "wrong": str, "rule": str, "seeds": int, "nodes": int, "edit": list}


class Wrong(Exception):
    """A table that cannot be used, and why."""


def read_tables(paths):
    mutants = []
    for path in paths:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise Wrong(f"{path}: {error}") from error
        simulator = table.get("simulator", "nodes")
        if simulator not in SIMULATORS:
            raise Wrong(f"{path}: nobody knows the simulator '{simulator}'")
        for entry in table.get("mutant", []):
            check(path, entry)
            entry["simulator"] = simulator
            mutants.append(entry)
    names = [mutant["name"] for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise Wrong(f"two mutants are called '{name}'")
    return mutants


def check(path, entry):
    where = f"{path}: mutant '{entry.get('name', '?')}'"
    for field, kind in FIELDS.items():
        if field != "rule" and not isinstance(entry.get(field), kind):
            raise Wrong(f"{where} needs '{field}'")
    for field in entry:
        if field not in FIELDS:
            raise Wrong(f"{where}: nobody knows what '{field}' means")
    for edit in entry["edit"]:
        if set(edit) != {"file", "original", "replacement"}:
            raise Wrong(f"{where}: an edit is a file, an original and a replacement")
        if not re.search(r"\bMUTANT\b", edit["replacement"]) and not only_adds(edit):
            raise Wrong(f"{where}: the replacement in {edit['file']} does not ask for MUTANT")


def only_adds(edit):
    """Whether all lines of the original are still there, in their order."""
    lines = iter(edit["replacement"].splitlines())
    return all(line in lines for line in edit["original"].splitlines())


def place(text, edit, number, name):
    """Where in `text` the edit changes what: only that in which original and replacement differ."""
    original, replacement = edit["original"].strip("\n"), edit["replacement"].strip("\n")
    found = text.count(original)
    if found != 1:
        raise Wrong(f"mutant '{name}': this text occurs {found} times in {edit['file']}, not once; "
                    f"adapt the mutant to the engine, or drop it and say why:\n{original}")
    shorter = min(len(original), len(replacement))
    head = next((i for i in range(shorter) if original[i] != replacement[i]), shorter)
    tail = next((i for i in range(shorter - head) if original[-1 - i] != replacement[-1 - i]), shorter - head)
    # Words are changed as a whole.
    while head > 0 and (original[head - 1].isalnum() or original[head - 1] == "_"):
        head -= 1
    while tail > 0 and (original[-tail].isalnum() or original[-tail] == "_"):
        tail -= 1
    begin = text.index(original)
    changed = replacement[head:len(replacement) - tail]
    return begin + head, begin + len(original) - tail, re.sub(
        r"\bMUTANT\b", f"::cluster::mutants::on({number})", changed), name


def weave(path, changes):
    text = path.read_text(encoding="utf-8")
    places = sorted((place(text, *change) for change in changes), key=lambda each: each[:2])
    woven, at, before = [SWITCH] if places else [], 0, None
    for begin, end, changed, name in places:
        if begin < at:
            raise Wrong(f"mutants '{before}' and '{name}' change the same place of {path.name}")
        woven += [text[at:begin], changed]
        at, before = end, name
    return "".join(woven) + text[at:]


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def table(mutants):
    lines = ["#pragma once", "", '#include "mutants/switch.hpp"', "", "namespace cluster::mutants {", "",
             "inline const Mutant all[] = {"]
    for mutant in mutants:
        lines.append(f"    {{{quoted(mutant['name'])}, {mutant['seeds']}, {mutant['nodes']}, "
                     f"Simulator::{mutant['simulator']}}},")
    return "\n".join(lines + ["};", "", "}  // namespace cluster::mutants", ""])


def write(path, text):
    """Leaves alone what is already there, so that it is not compiled again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(source, out, *tables):
    source, out = pathlib.Path(source), pathlib.Path(out)
    files = {str(path.relative_to(source)): path
             for folder in FOLDERS for path in sorted((source / folder).glob("*.[ch]pp"))}
    mutants = read_tables([pathlib.Path(each) for each in tables])
    changes = {}
    for number, mutant in enumerate(mutants, 1):
        for edit in mutant["edit"]:
            if edit["file"] not in files:
                raise Wrong(f"mutant '{mutant['name']}': there is no file {edit['file']} in {source}")
            changes.setdefault(edit["file"], []).append((edit, number, mutant["name"]))
    woven = {name: weave(path, changes.get(name, [])) for name, path in files.items()}
    for name, text in woven.items():
        write(out / name, text)
    write(out / "mutants" / "table.hpp", table(mutants))
    (out / "stamp").touch()


try:
    main(*sys.argv[1:])
except Wrong as why:
    sys.exit(f"weave.py: {why}")

#!/usr/bin/env python3
"""Measures every figure in the documents anew and writes it into its place.

    ci/figures.py                 all of them, about ten minutes
    ci/figures.py speed fuzz      these groups alone; --list names them

A figure stands in a document between <!-- =name --> and <!-- = -->; a block of text between
<!-- =name --> and <!-- = --> on lines of their own, with its fence inside. A figure that no group
measures, and one that is measured and stands nowhere, are errors, so that no document keeps a number
that nothing makes.

Nothing is judged here: what a figure should be is said nowhere.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACE = re.compile(r"(<!-- =([\w.]+) -->)(.*?)(<!-- = -->)", re.S)
RECORDINGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "corpus/recordings").glob("*.trace.zst"))


def output(*command, cwd=ROOT):
    """What a command prints; a command that fails ends everything with its own words."""
    print("$", *command, file=sys.stderr)
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def kvroute(*arguments):
    return json.loads(output("cargo", "kvroute", *arguments, "--json"))


def grouped(number):
    return f"{round(number):,}".replace(",", "\u00a0")


def millions(number):
    return f"{number / 1e6:.2f} million"


def speed():
    """The direct driver."""
    both, one = (kvroute("run", "routed", "--seconds", "10", *jobs) for jobs in ([], ["--jobs", "1"]))
    counts = both["counts"]
    return {
        "speed.all": millions(counts["lane_ops"] / both["seconds"]),
        "speed.one": millions(one["counts"]["lane_ops"] / one["seconds"]),
        "speed.ops": f"{counts['ops'] / counts['traces']:.0f}",
        "speed.executed": f"{100 * counts['executed_share']:.1f} %",
    }


def scale():
    """Words that a call touches, by how much is live."""
    rows = kvroute("scale")["rows"]
    def words(call):
        of_call = [row for row in rows if row["what"].startswith(call) and row["loads"]]
        touched = {row["live"]: row["loads"] + row["stores"] for row in of_call}
        return f"{touched[1_000]:.0f} to {touched[100_000]:.0f}"
    return {f"scale.{call}": words(call) for call in ("kmalloc", "alloc_pages", "vmalloc")}


def fuzz():
    """The fuzzer, a minute of it."""
    last = output("ci/fuzz.sh", "routed", "60").strip().splitlines()[-2]
    seconds, inputs, edges = re.search(r"routed (\d+) s: ([\d_]+) inputs.* (\d+) edges", last).groups()
    return {
        "fuzz.inputs": grouped(int(inputs.replace("_", "")) / int(seconds)),
        "fuzz.edges": grouped(int(edges)),
    }


def verdict():
    """What the harness says of a planted fault, in a checkout of its own."""
    file, find, replace = "alloc-core/src/pages/page_alloc.rs", "PAGE_SIZE << order", "PAGE_SIZE"
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "kvroute"
        output("git", "clone", "--quiet", str(ROOT), str(clone))
        text = (clone / file).read_text()
        if text.count(find) != 1:
            sys.exit(f"{file} does not have '{find}' exactly once")
        (clone / file).write_text(text.replace(find, replace))
        command = ["cargo", "kvroute", "run", "kmalloc"]
        done = subprocess.run(command, cwd=clone, text=True, stdout=subprocess.PIPE)
    if done.returncode != 1:
        sys.exit(f"the planted fault was not found: exit code {done.returncode}")
    return {"verdict": f"\n```text\n{done.stdout.strip()}\n```\n"}


GROUPS = {group.__name__: group for group in (speed, scale, fuzz, verdict)}


def write(figures):
    """Puts each figure into its places."""
    written = set()
    for document in DOCUMENTS:
        def place(match):
            written.add(match[2])
            return match[1] + figures.get(match[2], match[3]) + match[4]
        old = document.read_text()
        new = PLACE.sub(place, old)
        if new != old:
            document.write_text(new)
    return written


def main(arguments):
    if arguments == ["--list"]:
        print(*(f"{name:<8} {group.__doc__}" for name, group in GROUPS.items()), sep="\n")
        return
    unknown = [name for name in arguments if name not in GROUPS]
    if unknown:
        sys.exit(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    figures = {}
    for name in arguments or GROUPS:
        figures |= GROUPS[name]()
    places = write(figures)
    lost = set(figures) - places
    unmade = set() if arguments else places - set(figures)
    if lost or unmade:
        sys.exit(f"stand in no document: {sorted(lost)}; are made by nothing: {sorted(unmade)}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The installed packages are those that were pinned, fit together, are as they were installed,
have permissive licences where the app needs them, and no known vulnerability. `make audit`, which
`make check` includes.

    python -m tests.dependency_audit

All but the last works without a network. Vulnerabilities are asked from the database OSV, which
receives names and versions of the packages; where it cannot be reached, a line says so.
"""

import base64
import hashlib
import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OSV = "https://api.osv.dev/v1/querybatch"
SECONDS = 10.0
"""A server that does not answer within this time counts as unreachable."""
RUNTIME = "requirements.txt"
PERMISSIVE = frozenset(
    """0BSD|3-Clause BSD License|Apache 2.0|Apache License 2.0|Apache Software License|Apache-2.0
    Apache-2.0 WITH LLVM-exception|BSD|BSD License|BSD-2-Clause|BSD-3-Clause|BSL-1.0|CC0-1.0|ISC
    MIT|MIT License|MIT-CMU|PSF-2.0|Zlib""".replace("\n", "|")
    .replace("    ", "")
    .split("|")
)
"""Names of licences that let anyone use and pass on a package, as packages write them."""
OTHER_LICENCES = {
    "certifi": "MPL-2.0; its list of certificates is used unchanged",
    "cuda-toolkit": "NVIDIA's; a part of torch for GPUs, not of torch for processors",
    "nvidia-": "NVIDIA's; a part of torch for GPUs, not of torch for processors",
}
"""A package, or the start of its name, that may have another licence, and why."""


def pinned(files: str = "requirements*.txt") -> tuple[Requirement, ...]:
    """The requirements of every such file."""
    lines = [
        line.partition("#")[0].strip()
        for path in sorted(ROOT.glob(files))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return tuple(Requirement(line) for line in lines if line and not line.startswith("-r"))


def installed(requirements: Sequence[Requirement]) -> tuple[dict[str, Distribution], list[str]]:
    """The packages of these requirements, and of theirs; a sentence for each that does not fit."""
    found: dict[str, Distribution] = {}
    sentences = []
    waiting = [(requirement, "the requirements") for requirement in requirements]
    seen = set()
    while waiting:
        requirement, wanting = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            own = found[name] = found.get(name) or distribution(name)
        except PackageNotFoundError:
            sentences.append(f"{requirement} is not installed; {wanting} need it.")
            continue
        if not requirement.specifier.contains(own.version, prereleases=True):
            sentences.append(f"{name} is {own.version}; {wanting} need {requirement}.")
        extras = ("", *sorted(requirement.extras))
        if (name, extras) not in seen:
            seen.add((name, extras))
            waiting += [(needed, f"{name} {own.version}") for needed in _needed(own, extras)]
    return found, sentences


def _needed(own: Distribution, extras: Sequence[str]) -> Iterator[Requirement]:
    for line in own.requires or ():
        needed = Requirement(line)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield needed


def changed_files(packages: Mapping[str, Distribution]) -> list[str]:
    """A sentence for each Python file that is not what its package installed."""
    sentences = []
    for name, own in packages.items():
        for file in own.files or ():
            if file.suffix != ".py" or file.hash is None:
                continue
            path = Path(str(own.locate_file(file)))
            content = path.read_bytes() if path.is_file() else b""
            digest = hashlib.new(file.hash.mode, content).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                sentences.append(f"{file} of {name} is not the file that was installed.")
    return sentences


def licence(own: Distribution) -> str:
    """The licence in a package's metadata, as one line; "" where there is none.

    It is the expression, else the classifiers, else the text of the old field if that is a name.
    """
    classifiers = own.metadata.get_all("Classifier") or []
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    # Not by []: the package importlib_metadata, where it is imported, raises KeyError.
    text = next(iter(own.metadata.get_all("License") or []), "")
    short = text if len(text) < 60 and "\n" not in text else ""
    expression = next(iter(own.metadata.get_all("License-Expression") or []), "")
    return expression or " AND ".join(named) or short


def is_permissive(expression: str) -> bool:
    """Is each part of a licence, or one of its alternatives, in `PERMISSIVE`?"""
    parts = expression.replace("(", "").replace(")", "").split(" AND ")
    return all(PERMISSIVE.intersection(part.split(" OR ")) for part in parts)


def licences(packages: Mapping[str, Distribution]) -> tuple[list[str], list[str]]:
    """A table of the packages by licence, and a sentence for each that is not permissive."""
    rows: dict[str, list[str]] = {}
    sentences = []
    for name, own in sorted(packages.items()):
        stated = licence(own)
        reason = next((why for start, why in OTHER_LICENCES.items() if name.startswith(start)), "")
        if not is_permissive(stated) and not reason:
            sentences.append(f"{name} {own.version} has the licence '{stated}': look at its terms.")
        rows.setdefault(reason or stated, []).append(f"{name} {own.version}")
    return [f"{stated}: {', '.join(own)}" for stated, own in sorted(rows.items())], sentences


def vulnerabilities(packages: Mapping[str, Distribution]) -> list[str]:
    """A sentence for each package with known vulnerabilities. Raises OSError without a network."""
    versions = {name: own.version.partition("+")[0] for name, own in packages.items()}
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in versions.items()
    ]
    request = urllib.request.Request(
        OSV, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        results = json.load(response)["results"]
    return [
        f"{name} {version} has known vulnerabilities: "
        f"{', '.join(re.sub('[^A-Za-z0-9-]', '', own['id']) for own in result['vulns'])}."
        for (name, version), result in zip(versions.items(), results, strict=True)
        if result.get("vulns")
    ]


def main() -> int:
    """Prints what is wrong; 1 where something is."""
    packages, sentences = installed(pinned())
    sentences += changed_files(packages)
    table, refused = licences(installed(pinned(RUNTIME))[0])
    sentences += refused
    try:
        sentences += vulnerabilities(packages)
        asked = "their known vulnerabilities were asked from api.osv.dev"
    except OSError as error:
        reason = getattr(error, "reason", error)
        asked = f"known vulnerabilities are NOT checked: api.osv.dev cannot be reached ({reason})"
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    print("Licences of the packages that the app needs:", *table, sep="\n")
    print(f"{len(packages)} packages: pins, requirements and files compared; {asked}.")
    return int(bool(sentences))


if __name__ == "__main__":
    sys.exit(main())

"""Installs a released vLLM with its dependencies into a virtual environment of its own.

usage: install_release.py VERSION FOLDER

Dependencies as the wheel names them; one whose bounds the package index cannot meet is installed without bounds, and said.
The folder appears complete or not at all.
"""
import os
import shutil
import subprocess
import sys
import venv

LIST_REQUIREMENTS = """
import importlib.metadata
from pip._vendor.packaging.requirements import Requirement
for text in importlib.metadata.requires("vllm") or []:
    requirement = Requirement(text)
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        requirement.marker = None
        print(requirement)
"""
MAX_ROUNDS = 5


def pip(python, *arguments):
    return subprocess.run([python, "-m", "pip", "install", "-q", "--no-compile", *arguments], stderr=subprocess.PIPE, text=True)


def main():
    version, folder = sys.argv[1:]
    unfinished = folder + ".part"
    shutil.rmtree(unfinished, ignore_errors=True)
    venv.create(unfinished, with_pip=True)
    python = os.path.join(unfinished, "bin", "python")
    done = pip(python, "--no-deps", "vllm==" + version)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    lines = subprocess.run([python, "-c", LIST_REQUIREMENTS], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    needed = [line for line in lines if line]
    for _ in range(MAX_ROUNDS):
        done = pip(python, *needed)
        if done.returncode == 0:
            break
        missing = [line for line in needed if "No matching distribution found for " + line.split("[")[0] in done.stderr]
        if not missing:
            raise SystemExit(done.stderr)
        for line in missing:
            name = line.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].split("~")[0].strip()
            print("{} is not on the index; any version of it is taken".format(line))
            needed[needed.index(line)] = name
    else:
        raise SystemExit(done.stderr)
    # Scripts of the environment name its folder; nothing here runs them, and its interpreter finds itself.
    os.rename(unfinished, folder)


if __name__ == "__main__":
    main()

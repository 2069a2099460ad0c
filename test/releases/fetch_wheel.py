"""Fetches the Python files of one released wheel from the package index, without the rest of it.

usage: fetch_wheel.py PACKAGE VERSION FOLDER

Reads the wheel's directory and single members by HTTP range requests (a vLLM wheel has 400 MB, its Python files 20). Compiled
libraries become empty files, because their names are part of what a probe looks at. The folder appears complete or not at all.
"""
import io
import json
import os
import shutil
import sys
import urllib.request
import zipfile

INDEX = os.environ.get("ATTN_DIAG_INDEX", "https://pypi.org/simple")
BLOCK_BYTES = 4 << 20
TIMEOUT_S = 120


class RemoteFile(io.RawIOBase):
    """A file on a server that understands ranges, read in blocks that are kept."""

    def __init__(self, url):
        self.url = url
        with self.request({}, "HEAD") as answer:
            self.size = int(answer.headers["Content-Length"])
        self.position = 0
        self.blocks = {}

    def request(self, headers, method="GET"):
        return urllib.request.urlopen(urllib.request.Request(self.url, headers=headers, method=method), timeout=TIMEOUT_S)

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=os.SEEK_SET):
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def block(self, index):
        if index not in self.blocks:
            start = index * BLOCK_BYTES
            end = min(self.size, start + BLOCK_BYTES) - 1
            with self.request({"Range": "bytes={}-{}".format(start, end)}) as answer:
                if answer.status != 206:
                    raise OSError("the server does not serve ranges")
                self.blocks[index] = answer.read()
        return self.blocks[index]

    def readinto(self, buffer):
        wanted = min(len(buffer), self.size - self.position)
        done = 0
        while done < wanted:
            index, offset = divmod(self.position, BLOCK_BYTES)
            part = self.block(index)[offset : offset + wanted - done]
            buffer[done : done + len(part)] = part
            done += len(part)
            self.position += len(part)
        return done


def wheel_url(package, version):
    request = urllib.request.Request(
        "{}/{}/".format(INDEX, package), headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        files = json.load(answer)["files"]
    wheels = [
        item
        for item in files
        if item["filename"].endswith(".whl")
        and item["filename"].split("-")[1] == version
        and ("x86_64" in item["filename"] or item["filename"].endswith("-none-any.whl"))
    ]
    if not wheels:
        raise SystemExit("{} {} has no wheel for Linux x86-64 on {}".format(package, version, INDEX))
    return sorted(wheels, key=lambda item: item["filename"])[-1]["url"]


def main():
    package, version, folder = sys.argv[1:]
    unfinished = folder + ".part"
    shutil.rmtree(unfinished, ignore_errors=True)
    root = os.path.realpath(unfinished)
    with zipfile.ZipFile(io.BufferedReader(RemoteFile(wheel_url(package, version)), 1 << 20)) as wheel:
        for member in wheel.infolist():
            name = member.filename
            keep = name.endswith(".py") or ".dist-info/" in name
            if member.is_dir() or not (keep or name.endswith(".so")):
                continue
            target = os.path.realpath(os.path.join(root, name))
            if not target.startswith(root + os.sep):
                raise SystemExit("the wheel names a file outside of itself: " + name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as handle:
                handle.write(wheel.read(member) if keep else b"")
    os.rename(unfinished, folder)


if __name__ == "__main__":
    main()

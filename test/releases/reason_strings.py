"""Looks for texts in the string constants of an installed vLLM's attention code.

usage: reason_strings.py FOLDER < JSON list of texts; prints the JSON list of those that are nowhere.

A text is found when it is a constant, or when an f-string of the release can make it and contributes some words of its own. A
backend that quotes another one's reason ("NAME: reason") is looked for by the reason.
"""
import ast
import json
import os
import re
import sys

PLACES = ("v1/attention", "attention", "platforms", "vllm_flash_attn/flash_attn_interface.py", "utils", "model_executor/layers/attention")
# Letters that an f-string must bring itself, so that one that is only a frame matches nothing.
LEAST_LETTERS = 8
QUOTED = re.compile(r"^[A-Z][A-Z0-9_]+: ")


def files(root):
    for place in PLACES:
        path = os.path.join(root, "vllm", place)
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in names:
                if name.endswith(".py"):
                    yield os.path.join(folder, name)


def collect(root):
    constants, patterns = set(), []
    for path in files(root):
        with open(path, encoding="utf-8", errors="replace") as handle:
            tree = ast.parse(handle.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                literals = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                if sum(len(re.sub(r"[^A-Za-z]", "", part)) for part in literals if part) >= LEAST_LETTERS:
                    patterns.append(re.compile("".join(".*" if part is None else re.escape(part) for part in literals), re.DOTALL))
    return constants, patterns


def main():
    constants, patterns = collect(sys.argv[1])

    def found(text):
        if text in constants or any(pattern.fullmatch(text) for pattern in patterns):
            return True
        # A text may be one constant with a value put into it by the % operator or by a logger.
        if any("%" in constant and formatted(constant).fullmatch(text) for constant in constants if len(constant) >= LEAST_LETTERS):
            return True
        inner = QUOTED.sub("", text)
        return inner != text and found(inner)

    def formatted(constant):
        return re.compile(".*".join(re.escape(part) for part in re.split(r"%[sdr]", constant)), re.DOTALL)

    print(json.dumps([text for text in json.load(sys.stdin) if not found(text)]))


if __name__ == "__main__":
    main()

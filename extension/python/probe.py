"""Looks at a Python environment for vLLM and FlashAttention by reading files: distribution metadata and source text.

Standard library only, any Python from 3.8 on; imports neither torch nor vllm and starts nothing. Prints one line: a marker
followed by one JSON document. Each part is read on its own: what fails is named under "problems", the rest stands.

The file parses under any Python (no f-strings, no annotations), so that one that is too old can say so.
"""
import sys

MARKER = "attn-diag-probe:"
SCHEMA = "attn-diag-probe/1"

# The distributions that take part in backend selection, or whose versions FlashAttention-4 must share with vLLM.
DISTS = (
    "vllm",
    "torch",
    "triton",
    "transformers",
    "flashinfer-python",
    "flashinfer-cubin",
    "flashinfer-jit-cache",
    "flash-attn",
    "flash-attn-3",
    "flash-attn-4",
    "nvidia-cutlass-dsl",
    "quack-kernels",
    "apache-tvm-ffi",
    "torch-c-dlpack-ext",
    "tokenspeed-mla",
    "b12x",
)
# Whose requirements are checked against what is installed.
REQUIRERS = ("vllm", "flash-attn-4", "flash-attn", "flashinfer-python", "quack-kernels", "tokenspeed-mla")
MAX_SOURCE_BYTES = 4 * 1024 * 1024
CAPABILITY_MAJORS = (7, 8, 9, 10, 11, 12)


class Problems(object):
    """What could not be read, as {"where", "what"}; the message is an exception's class and text, shortened."""

    def __init__(self):
        self.items = []

    def add(self, where, error):
        text = error if isinstance(error, str) else "{}: {}".format(type(error).__name__, error)
        self.items.append({"where": str(where), "what": text[:300]})


def read_source(path):
    """Text of a source file; None when there is none. Raises OSError or ValueError for one that cannot be used."""
    import os

    if not os.path.isfile(path):
        return None
    if os.path.getsize(path) > MAX_SOURCE_BYTES:
        raise ValueError("file is larger than {} bytes".format(MAX_SOURCE_BYTES))
    with open(path, "rb") as handle:
        return handle.read(MAX_SOURCE_BYTES).decode("utf-8", "replace")


def parse_source(path):
    """(text, syntax tree) of a source file; (None, None) when there is none."""
    import ast

    text = read_source(path)
    return (None, None) if text is None else (text, ast.parse(text))


def find_class(tree, name):
    import ast

    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    return None


def find_function(tree, name):
    import ast

    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return node
    return None


# --- versions (PEP 440) and requirements (PEP 508), as far as pins of these packages use them ---


def parse_version(text):
    """(sort key, release tuple, local part or None) of a version; None when it is not one."""
    import re

    match = re.match(
        r"^\s*v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?"
        r"(?:(?:[-_.]?(post|rev|r)[-_.]?(\d*))|-(\d+))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*$",
        text,
        re.IGNORECASE,
    )
    if match is None:
        return None
    epoch, release, pre, pre_n, post, post_n, post_implicit, dev, dev_n, local = match.groups()
    numbers = [int(part) for part in release.split(".")]
    trimmed = list(numbers)
    while len(trimmed) > 1 and trimmed[-1] == 0:
        trimmed.pop()
    if pre is not None:
        letter = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}.get(pre.lower(), pre.lower())
        pre_key = (1, letter, int(pre_n or 0))
    elif dev is not None and post is None and post_implicit is None:
        pre_key = (0, "", 0)  # A development version of a release sorts before its pre-releases.
    else:
        pre_key = (2, "", 0)
    has_post = post is not None or post_implicit is not None
    post_key = int(post_n or post_implicit or 0) if has_post else -1
    dev_key = (0, int(dev_n or 0)) if dev is not None else (1, 0)
    key = (int(epoch or 0), tuple(trimmed), pre_key, post_key, dev_key)
    return key, tuple(numbers), local, pre is not None or dev is not None


def matches_clause(version, operator, wanted):
    """Does a version meet one clause (`>=`, `1.2`)? None when the clause or the version cannot be read."""
    if operator == "===":
        return version.strip().lower() == wanted.strip().lower()
    have = parse_version(version)
    if have is None:
        return None
    if wanted.endswith(".*"):
        base = parse_version(wanted[:-2])
        if base is None or operator not in ("==", "!="):
            return None
        same = (have[1] + (0,) * len(base[1]))[: len(base[1])] == base[1]
        return same if operator == "==" else not same
    want = parse_version(wanted)
    if want is None:
        return None
    if operator in ("==", "!="):
        same = have[0] == want[0] and (want[2] is None or want[2] == have[2])
        return same if operator == "==" else not same
    if operator == "~=":
        prefix = want[1][:-1]
        return have[0] >= want[0] and have[1][: len(prefix)] == prefix
    if operator == ">=":
        return have[0] >= want[0]
    if operator == "<=":
        return have[0] <= want[0]
    # `>1` does not take 1.post1 and `<1` does not take 1rc1, unless the clause names such a version itself.
    if operator == ">":
        return have[0] > want[0] and not (have[0][1] == want[0][1] and have[0][3] >= 0 > want[0][3])
    if operator == "<":
        return have[0] < want[0] and not (have[0][1] == want[0][1] and have[3] and not want[3])
    return None


def parse_requirement(text):
    """(normalised name, [(operator, version)], marker or None); None when it is not a requirement."""
    import re

    body, _, marker = text.partition(";")
    match = re.match(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*?)\s*$", body)
    if match is None or match.group(2).startswith("@"):
        return None
    clauses = []
    specifier = match.group(2).strip("() ")
    for clause in [part.strip() for part in specifier.split(",") if part.strip()]:
        parts = re.match(r"^(===|==|!=|<=|>=|<|>|~=)\s*(\S+)$", clause)
        if parts is None:
            return None
        clauses.append((parts.group(1), parts.group(2)))
    name = re.sub(r"[-_.]+", "-", match.group(1)).lower()
    return name, clauses, marker.strip() or None


def marker_holds(marker):
    """Evaluates an environment marker; extras are off. None when it uses something unknown."""
    import ast
    import os
    import platform

    values = {
        "extra": "",
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_system": platform.system(),
        "platform_python_implementation": platform.python_implementation(),
        "implementation_name": sys.implementation.name,
        "python_version": "{}.{}".format(*sys.version_info[:2]),
        "python_full_version": platform.python_version(),
    }

    def value(node):
        if isinstance(node, ast.Name):
            return node.id, values[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return None, node.value
        raise ValueError("marker")

    def holds(node):
        if isinstance(node, ast.BoolOp):
            parts = [holds(part) for part in node.values]
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            (left_name, left), (right_name, right) = value(node.left), value(node.comparators[0])
            symbol = {
                ast.Eq: "==",
                ast.NotEq: "!=",
                ast.Lt: "<",
                ast.LtE: "<=",
                ast.Gt: ">",
                ast.GtE: ">=",
                ast.In: "in",
                ast.NotIn: "not in",
            }[type(node.ops[0])]
            if symbol == "in":
                return left in right
            if symbol == "not in":
                return left not in right
            if "python" in (left_name or right_name or "") and "version" in (left_name or right_name or ""):
                return bool(matches_clause(left, symbol, right))
            return (left == right) if symbol == "==" else (left != right) if symbol == "!=" else False
        raise ValueError("marker")

    try:
        return holds(ast.parse(marker, mode="eval").body)
    except Exception:
        return None


# --- distributions ---


def read_dists(problems):
    """Name -> {"version", "path", "requires", "others"}; "others" are further copies that the first one hides."""
    import importlib.metadata as metadata

    found = {}
    for name in DISTS:
        copies = []
        try:
            # Python 3.8 and 3.9 look names up as written, and wheels write both dashes and underscores.
            for spelling in (name,) if sys.version_info >= (3, 10) else (name, name.replace("-", "_")):
                copies.extend(metadata.distributions(name=spelling))
        except Exception as error:
            problems.add("metadata of " + name, error)
        entries = []
        for dist in copies:
            try:
                version = dist.version
                path = str(getattr(dist, "_path", "") or dist.locate_file(""))
                if not isinstance(version, str) or path in [entry["path"] for entry in entries]:
                    continue
                requires = [str(item) for item in (dist.requires or [])]
                entries.append({"version": version, "path": path, "requires": requires, "dist": dist})
            except Exception as error:
                problems.add("metadata of " + name, error)
        if entries:
            first = entries[0]
            first["others"] = [{"version": other["version"], "path": other["path"]} for other in entries[1:]]
            found[name] = first
    return found


def read_conflicts(dists):
    """Requirements of installed distributions that another installed or missing one does not meet."""
    conflicts = []
    for requirer in REQUIRERS:
        for text in dists.get(requirer, {}).get("requires", []):
            parsed = parse_requirement(text)
            if parsed is None:
                continue
            name, clauses, marker = parsed
            if name not in DISTS or (marker is not None and not marker_holds(marker)):
                continue
            installed = dists.get(name, {}).get("version")
            met = [matches_clause(installed, op, version) for op, version in clauses] if installed else []
            if installed is None or False in met:
                conflicts.append({"by": requirer, "requirement": text, "name": name, "installed": installed})
    return conflicts


def provided_files(dist, wanted):
    """Which of the wanted relative paths a distribution's file list names."""
    try:
        listed = {str(item).replace("\\", "/") for item in (dist.files or [])}
    except Exception:
        return []
    return [path for path in wanted if path in listed]


# --- the installed vLLM ---


class Unknown(Exception):
    """The priority function does something this small evaluator does not know."""


class Capability(object):
    def __init__(self, major):
        self.major = major


def evaluate_priorities(function, arguments):
    """Runs the body of _get_backend_priorities on plain values: comparisons, lists, insert and append, nothing else.

    Names that are not arguments or locals, calls other than the known ones, loops: Unknown.
    """
    import ast

    class Returned(Exception):
        def __init__(self, value):
            self.value = value

    scope = dict(arguments)

    def expression(node):
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in scope:
            return scope[node.id]
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in ("AttentionBackendEnum", "_Backend"):
                return node.attr
            owner = expression(node.value)
            if isinstance(owner, Capability) and node.attr == "major":
                return owner.major
            raise Unknown(node.attr)
        if isinstance(node, ast.List):
            items = []
            for item in node.elts:
                if isinstance(item, ast.Starred):
                    items.extend(expression(item.value))
                else:
                    items.append(expression(item))
            return items
        if isinstance(node, ast.IfExp):
            return expression(node.body) if expression(node.test) else expression(node.orelse)
        if isinstance(node, ast.BoolOp):
            result = None
            for part in node.values:
                result = expression(part)
                if bool(result) != isinstance(node.op, ast.And):
                    return result
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not expression(node.operand)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right, op = expression(node.left), expression(node.comparators[0]), type(node.ops[0])
            table = {
                ast.Eq: lambda: left == right,
                ast.NotEq: lambda: left != right,
                ast.Lt: lambda: left < right,
                ast.LtE: lambda: left <= right,
                ast.Gt: lambda: left > right,
                ast.GtE: lambda: left >= right,
                ast.Is: lambda: left is right,
                ast.IsNot: lambda: left is not right,
                ast.In: lambda: left in right,
                ast.NotIn: lambda: left not in right,
            }
            return table[op]()
        if isinstance(node, ast.Call):
            called = node.func
            values = [expression(argument) for argument in node.args]
            if isinstance(called, ast.Name) and called.id == "is_quantized_kv_cache":
                return values[0] not in ("auto", "bfloat16", "float16")
            if isinstance(called, ast.Attribute) and called.attr == "startswith":
                return expression(called.value).startswith(*values)
        raise Unknown(type(node).__name__)

    def run(statements):
        for node in statements:
            if isinstance(node, ast.Return):
                raise Returned(expression(node.value))
            if isinstance(node, ast.If):
                run(node.body if expression(node.test) else node.orelse)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                scope[node.targets[0].id] = expression(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                scope[node.target.id] = expression(node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                call = node.value
                if not (isinstance(call.func, ast.Attribute) and call.func.attr in ("insert", "append", "extend")):
                    raise Unknown("call")
                getattr(expression(call.func.value), call.func.attr)(*[expression(item) for item in call.args])
            elif not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) and not (
                isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            ):
                raise Unknown(type(node).__name__)

    defaults = function.args.defaults
    for argument, default in zip(function.args.args[len(function.args.args) - len(defaults) :], defaults):
        if argument.arg not in scope:
            scope[argument.arg] = expression(default)
    try:
        run(function.body)
    except Returned as returned:
        if isinstance(returned.value, list) and all(isinstance(item, str) for item in returned.value):
            return returned.value
    raise Unknown("no list returned")


# Questions put to the priority function beyond the capability, with the argument that a release must have for each.
PRIORITY_QUESTIONS = (
    ("standard", {"use_mla": False}, "use_mla"),
    ("standardMmPrefix", {"use_mla": False, "use_mm_prefix": True}, "use_mm_prefix"),
    ("standardNonCausal", {"use_mla": False, "use_non_causal": True}, "use_non_causal"),
    ("mla", {"use_mla": True, "num_heads": 128, "kv_cache_dtype": "auto", "head_size": 576}, "use_mla"),
    ("mlaFewHeads", {"use_mla": True, "num_heads": 16, "kv_cache_dtype": "auto", "head_size": 576}, "num_heads"),
    ("mlaFp8", {"use_mla": True, "num_heads": 128, "kv_cache_dtype": "fp8", "head_size": 576}, "kv_cache_dtype"),
)


def read_priorities(root, problems):
    """Question -> capability major -> list of backend names; None where the source is not understood."""
    import os

    path = os.path.join(root, "platforms", "cuda.py")
    try:
        _, tree = parse_source(path)
        function = None if tree is None else find_function(tree, "_get_backend_priorities")
        if function is None:
            return None
        known = {argument.arg for argument in function.args.args}
        answers = {}
        for question, arguments, needed in PRIORITY_QUESTIONS:
            if needed not in known:
                continue
            by_major = {}
            for major in CAPABILITY_MAJORS:
                given = {key: value for key, value in arguments.items() if key in known}
                given["device_capability"] = Capability(major)
                by_major[str(major)] = evaluate_priorities(function, given)
            answers[question] = by_major
        return answers
    except Exception as error:
        problems.add(path, error)
        return None


def read_attention_config(root, problems):
    """Fields of the installed AttentionConfig; None when the release has none (before 0.13.0) or it cannot be read."""
    import ast
    import os

    path = os.path.join(root, "config", "attention.py")
    try:
        text, tree = parse_source(path)
        node = None if tree is None else find_class(tree, "AttentionConfig")
        if node is None:
            return None
        fields = []
        for item in node.body:
            if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
                continue
            annotation = ast.get_source_segment(text, item.annotation) or ""
            if annotation.startswith("ClassVar"):
                continue
            literals = []
            for part in ast.walk(item.annotation):
                if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name) and part.value.id == "Literal":
                    constants = [sub.value for sub in ast.walk(part.slice) if isinstance(sub, ast.Constant)]
                    literals.extend(value for value in constants if isinstance(value, (int, str)))
            default = ast.get_source_segment(text, item.value) if item.value is not None else None
            fields.append(
                {
                    "name": item.target.id,
                    "annotation": " ".join(annotation.split())[:200],
                    "default": None if default is None else " ".join(default.split())[:200],
                    "literals": literals,
                }
            )
        utils = read_source(os.path.join(root, "config", "utils.py"))
        forbids = None if utils is None else 'extra="forbid"' in utils.replace("'", '"').replace(" ", "")
        return {"path": path, "fields": fields, "forbidsUnknown": forbids}
    except Exception as error:
        problems.add(path, error)
        return None


def read_backends(root, problems):
    """Names of the backend enum, from where the release keeps it."""
    import ast
    import os

    places = (
        (("v1", "attention", "backends", "registry.py"), "AttentionBackendEnum"),
        (("attention", "backends", "registry.py"), "AttentionBackendEnum"),
        (("platforms", "interface.py"), "_Backend"),
    )
    for parts, name in places:
        path = os.path.join(root, *parts)
        try:
            _, tree = parse_source(path)
            node = None if tree is None else find_class(tree, name)
            if node is None:
                continue
            members = [
                target.id
                for item in node.body
                if isinstance(item, ast.Assign)
                for target in item.targets
                if isinstance(target, ast.Name) and target.id.isupper()
            ]
            return {"path": path, "members": members}
        except Exception as error:
            problems.add(path, error)
    return None


def read_cute_interface(path, problems):
    """What an FA4 interface.py really checks on SM90 and which arguments its forward takes.

    The limit comes from the comparison that defines is_sm90_range (or, before it existed, from the assertion on head_dim):
    the error text says 256 also where 512 is accepted. The paged-KV and split-KV refusals are found by their messages.
    """
    import ast

    try:
        text, tree = parse_source(path)
        if tree is None:
            return None
        limit = None
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "is_sm90_range" for target in node.targets
            ):
                limits = [
                    sub.comparators[-1].value
                    for sub in ast.walk(node.value)
                    if isinstance(sub, ast.Compare) and isinstance(sub.comparators[-1], ast.Constant)
                ]
                limit = min(limits) if limits else None
        if limit is None:
            bounds = [
                node.test.comparators[0].value
                for node in ast.walk(tree)
                if isinstance(node, ast.Assert)
                and isinstance(node.test, ast.Compare)
                and isinstance(node.test.left, ast.Name)
                and node.test.left.id == "head_dim"
                and isinstance(node.test.ops[0], ast.LtE)
                and isinstance(node.test.comparators[0], ast.Constant)
            ]
            limit = min(bounds) if bounds else None
        forward = find_function(tree, "_flash_attn_fwd")
        parameters = []
        returns = None
        if forward is not None:
            arguments = forward.args
            parameters = [item.arg for item in arguments.args + arguments.kwonlyargs]
            lengths = [
                len(node.value.elts)
                for node in ast.walk(forward)
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
            ]
            returns = max(lengths) if lengths else None
        return {
            "path": path,
            "sm90HeadDimMax": limit,
            "refusesSplitKvOnSm90": "SplitKV not supported on SM 9.0" in text,
            "forwardParameters": parameters,
            "forwardReturns": returns,
        }
    except Exception as error:
        problems.add(path, error)
        return None


def read_rotary_import(root, problems):
    """How the rotary layer imports flash_attn's kernel: unguarded = a flash_attn without `ops` stops every such model."""
    import ast
    import os

    path = os.path.join(root, "model_executor", "layers", "rotary_embedding", "common.py")
    module = "flash_attn.ops.triton.rotary"
    try:
        text, tree = parse_source(path)
        if tree is None:
            return None
        if module not in text:
            return "none"
        found = []

        def guards(node):
            if isinstance(node, ast.Try):
                return any("Error" in ast.dump(item.type) for item in node.handlers if item.type is not None)
            if isinstance(node, ast.With):
                return any("suppress" in ast.dump(item.context_expr) for item in node.items)
            return False

        def visit(node, guarded, rocm):
            imports = isinstance(node, ast.ImportFrom) and node.module == module
            calls = (
                isinstance(node, ast.Call)
                and any(isinstance(arg, ast.Constant) and arg.value == module for arg in node.args)
                and "import_module" in ast.dump(node.func)
            )
            if imports or calls:
                found.append("guarded" if guarded else "rocmOnly" if rocm else "unguarded")
            guarded = guarded or guards(node)
            rocm = rocm or (isinstance(node, ast.If) and "is_rocm" in ast.dump(node.test))
            for child in ast.iter_child_nodes(node):
                visit(child, guarded, rocm)

        visit(tree, False, False)
        return "unguarded" if "unguarded" in found else found[0] if found else "none"
    except Exception as error:
        problems.add(path, error)
        return None


def has_binary(root, pattern):
    import glob
    import os

    return bool(glob.glob(os.path.join(glob.escape(root), pattern)))


def read_vllm(dists, problems):
    """The installed vLLM, found as a top-level module; None when there is none."""
    import importlib.util
    import os

    try:
        spec = importlib.util.find_spec("vllm")
    except Exception as error:
        problems.add("vllm", error)
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [])
    if not places:
        problems.add("vllm", "the module is not a package")
        return None
    root = places[0]
    vendored = os.path.join(root, "vllm_flash_attn")
    wrapper = None
    try:
        wrapper = read_source(os.path.join(vendored, "flash_attn_interface.py"))
    except Exception as error:
        problems.add(vendored, error)
    cute = os.path.join(vendored, "cute", "interface.py")
    return {
        "root": root,
        # A directory of this name without __init__.py: leftovers of an uninstall, or the working directory.
        "isNamespace": spec.origin is None,
        "version": dists.get("vllm", {}).get("version"),
        "attentionConfig": read_attention_config(root, problems),
        "backends": read_backends(root, problems),
        "priorities": read_priorities(root, problems),
        "fa2": has_binary(vendored, "_vllm_fa2_C*.so"),
        "fa3": has_binary(vendored, "_vllm_fa3_C*.so"),
        "fa4": read_cute_interface(cute, problems),
        "fa4Exists": os.path.isfile(cute),
        "flashmla": has_binary(root, "_flashmla_C*.so"),
        "rotaryImport": read_rotary_import(root, problems),
        "probesSystemFa4": None if wrapper is None else "from flash_attn.cute.interface import" in wrapper,
    }


# --- flash_attn as others installed it ---


def read_flash_attn_places():
    """Every directory `flash_attn` on the import path, in order, and what it holds. Nothing is imported."""
    import os

    places = []
    for entry in sys.path:
        path = os.path.join(entry or os.curdir, "flash_attn")
        if not os.path.isdir(path) or os.path.realpath(path) in [os.path.realpath(item["path"]) for item in places]:
            continue
        places.append(
            {
                "path": path,
                "hasInit": os.path.isfile(os.path.join(path, "__init__.py")),
                "hasRotary": os.path.isfile(os.path.join(path, "ops", "triton", "rotary.py")),
                "hasCuteInterface": os.path.isfile(os.path.join(path, "cute", "interface.py")),
            }
        )
    return places


def read_system_fa4(dists, places, problems):
    """The pip-installed flash-attn-4; None when the distribution is absent. The version is that of the distribution:
    `flash_attn.cute.__version__` asks for another distribution's and says 0.0.0."""
    import os

    wanted = "flash_attn/cute/interface.py"
    owners = [name for name in ("flash-attn-4", "flash-attn") if name in dists and provided_files(dists[name]["dist"], [wanted])]
    if "flash-attn-4" not in dists:
        return None
    dist = dists["flash-attn-4"]
    try:
        path = str(dist["dist"].locate_file(wanted))
    except Exception as error:
        problems.add("flash-attn-4", error)
        path = ""
    exists = os.path.isfile(path)
    # What `import flash_attn.cute` would find: a regular package hides every namespace directory, wherever it stands.
    regular = [item for item in places if item["hasInit"]]
    visible = [item for item in (regular[:1] or places) if item["hasCuteInterface"]]
    seen = os.path.join(visible[0]["path"], "cute", "interface.py") if visible else None
    return {
        "version": dist["version"],
        "interface": path if exists else None,
        "importedInterface": seen,
        "importedIsOwn": bool(exists and seen and os.path.realpath(seen) == os.path.realpath(path)),
        "owners": owners,
        "cute": read_cute_interface(path, problems) if exists else None,
    }


def find_program(name, candidates=()):
    import os
    import shutil

    found = shutil.which(name)
    if found is None:
        found = next((path for path in candidates if path and os.access(path, os.X_OK) and os.path.isfile(path)), None)
    return found


def module_exists(name, problems):
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except Exception as error:
        problems.add(name, error)
        return False


def read_torch_cuda(dists, problems):
    """CUDA version torch was built for, from torch/version.py."""
    import ast
    import os

    if "torch" not in dists:
        return None
    try:
        path = str(dists["torch"]["dist"].locate_file(os.path.join("torch", "version.py")))
        _, tree = parse_source(path)
        for node in tree.body if tree is not None else []:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(target, ast.Name) and target.id == "cuda" and isinstance(node.value, ast.Constant):
                return node.value.value if isinstance(node.value.value, str) else None
    except Exception as error:
        problems.add("torch/version.py", error)
    return None


def probe():
    import os

    problems = Problems()
    dists = read_dists(problems)
    places = read_flash_attn_places()
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    facts = {
        "schema": SCHEMA,
        "python": {
            "version": "{}.{}.{}".format(*sys.version_info[:3]),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "isVenv": sys.prefix != sys.base_prefix,
        },
        "dists": {
            name: {"version": item["version"], "path": item["path"], "others": item["others"]} for name, item in dists.items()
        },
        "conflicts": read_conflicts(dists),
        "vllm": read_vllm(dists, problems),
        "flashAttnPlaces": places,
        "systemFa4": read_system_fa4(dists, places, problems),
        "torchCuda": read_torch_cuda(dists, problems),
        "flashinfer": module_exists("flashinfer", problems),
        "flashinferCubin": module_exists("flashinfer_cubin", problems),
        "tokenspeedMla": module_exists("tokenspeed_mla", problems),
        "nvcc": find_program("nvcc", [os.path.join(home, "bin", "nvcc") for home in homes if home]),
        "ninja": find_program("ninja"),
    }
    facts["problems"] = problems.items
    return facts


def main():
    if sys.version_info < (3, 8):
        print(MARKER + '{"schema": "%s", "tooOld": "%d.%d"}' % (SCHEMA, sys.version_info[0], sys.version_info[1]))
        return
    import json
    import os
    import time

    started = time.perf_counter()
    # The folder of this file is not part of the environment that is asked about.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    facts = probe()
    facts["durationMs"] = round((time.perf_counter() - started) * 1000)
    sys.stdout.write("\n" + MARKER + json.dumps(facts, ensure_ascii=True, sort_keys=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

/**
 * The runner of installed libraries without any library: what it says, and what it survives. The packages written here stand
 * in for libraries that are broken in one way each; nothing here computes attention.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { BACKEND_ENGINES, type BackendEngine } from '../../../extension/core/measure/engines';
import { bench, BENCH_SCRIPT, benchCase, endedBySigterm, only, request, type BenchOutcome } from './benchProcess';
import { EnvironmentTree } from './environmentTree';

/** As little of torch as the parts under test touch. */
const TORCH = `
class _Cuda:
    class OutOfMemoryError(RuntimeError): pass
    def init(self): raise RuntimeError(WORDS)
class _Version: cuda = CUDA
class device:
    def __init__(self, *a): pass
WORDS = "Found no NVIDIA driver on your system."
CUDA = "13.0"
version = _Version()
cuda = _Cuda()
__version__ = "2.11.0+cu130"
`;

function inTree(build: (tree: EnvironmentTree) => void, lines: readonly string[]): BenchOutcome {
  const tree = new EnvironmentTree('bench');
  try {
    build(tree);
    return bench(tree.interpreter, lines, { home: tree.root });
  } finally {
    tree.remove();
  }
}

function withTorch(tree: EnvironmentTree, changes = ''): EnvironmentTree {
  const source = TORCH.replace('class _Version: cuda = CUDA', 'class _Version: pass');
  return tree.write('torch/__init__.py', `${source}\n${changes}\n_Version.cuda = CUDA\n`);
}

function describe(engine: BackendEngine, build: (tree: EnvironmentTree) => void) {
  const outcome = inTree((tree) => build(withTorch(tree)), [request(engine)]);
  const { available, version, torch, reason } = only(outcome, 'library');
  return { available, version, torch, code: reason?.code ?? null, text: reason?.text ?? '', outcome };
}

test('every engine of the contract answers, and says that torch is missing', () => {
  const outcome = inTree(
    () => undefined,
    BACKEND_ENGINES.map((engine) => request(engine)),
  );
  assert.deepEqual(outcome.strays, []);
  assert.equal(outcome.status, 0);
  assert.equal(outcome.messages[0]?.kind, 'hello');
  const libraries = outcome.messages.filter((message) => message.kind === 'library');
  assert.deepEqual(
    libraries.map((message) => [message.available, message.reason?.code]),
    BACKEND_ENGINES.map(() => [false, 'noTorch']),
  );
  assert.equal(outcome.messages.filter((message) => message.kind === 'done').length, BACKEND_ENGINES.length);
});

test('a request that is no request is answered, and the next one is heard', () => {
  const good = request('fa2.system');
  const outcome = inTree(
    () => undefined,
    [
      'not json',
      '[]',
      good.replace(/"protocolVersion":\d+/, '"protocolVersion":99'),
      good.replace('fa2.system', 'fa9'),
      good.replace('describe', 'explode'),
      request('fa2.system', 'run').replace('"cases":[]', '"cases":[{"caseIndex":"x"}]'),
      '',
      good,
    ],
  );
  const codes = outcome.messages.flatMap((message) => (message.kind === 'library' ? [message.reason?.code] : []));
  assert.deepEqual(codes, [...new Array<string>(6).fill('badRequest'), 'noTorch']);
  assert.equal(outcome.status, 0);
});

test('libraries that are not there are named, each in its own words', () => {
  for (const engine of ['fa2.system', 'fa3.system', 'fa4.system', 'fa2.vllm', 'fa4.vllm', 'flashmla.vllm'] as const) {
    const answer = describe(engine, () => undefined);
    assert.deepEqual([answer.available, answer.code, answer.torch], [false, 'notInstalled', '2.11.0+cu130'], engine);
    assert.match(answer.text, /not installed/);
  }
});

test('what a library prints, also below Python, does not reach the answers', () => {
  const noise = `import os, sys
print("loud"); sys.stdout.write("louder\\n"); os.write(1, b"@attn-diag-bench {\\"kind\\":\\"done\\"}\\n"); os.system("echo loudest")
flash_attn_varlen_func = flash_attn_with_kvcache = print`;
  const answer = describe('fa2.system', (tree) =>
    tree.write('flash_attn/__init__.py', noise).dist('flash-attn', '2.8.3'));
  assert.deepEqual([answer.available, answer.version, answer.outcome.strays], [true, '2.8.3', []]);
  assert.equal(answer.outcome.messages.filter((message) => message.kind === 'done').length, 1);
  for (const word of ['loud', 'louder', 'loudest']) assert.ok(answer.outcome.stderr.includes(word));
});

test('imports that fail say why in plain words', () => {
  const failing = (statement: string) =>
    describe('fa2.system', (tree) => tree.write('flash_attn/__init__.py', `${statement}\n`));
  const table: ReadonlyArray<readonly [string, string, RegExp]> = [
    [
      'raise ImportError("x.so: undefined symbol: _ZN3c10x")',
      'builtForOtherTorch',
      /another version of torch.*_ZN3c10x/,
    ],
    ['raise ImportError("libcuda.so.1: cannot open shared object file")', 'noDriver', /NVIDIA driver/],
    ['raise ImportError("libx.so: cannot open shared object file")', 'missingLibrary', /libx\.so/],
    ['raise ImportError("version `GLIBC_2.38\' not found")', 'builtForOtherSystem', /system library/],
    ['import nothing_of_this_name', 'importFailed', /nothing_of_this_name/],
    ['raise SystemExit(3)', 'importFailed', /SystemExit: 3/],
    ['raise RuntimeError("a" * 5000)', 'importFailed', /^.{0,700}$/],
  ];
  for (const [statement, code, text] of table) {
    const answer = failing(statement);
    assert.deepEqual([answer.available, answer.code], [false, code], statement);
    assert.match(answer.text, text);
  }
});

test('an import that ends the process leaves an answer without its last line', () => {
  const answer = inTree(
    (tree) =>
      withTorch(tree).write('flash_attn/__init__.py', 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'),
    [request('fa2.system')],
  );
  assert.equal(answer.signal, 'SIGSEGV');
  assert.deepEqual(
    answer.messages.map((message) => message.kind),
    ['hello', 'phase'],
  );
});

test('SIGTERM ends a library that hangs, at once, whatever it does with the signal', async () => {
  const tree = withTorch(new EnvironmentTree('bench'));
  tree.write(
    'flash_attn/__init__.py',
    'import sys, time\nprint("hanging", file=sys.stderr, flush=True)\ntime.sleep(600)\n',
  );
  try {
    const { signal, afterMs } = await endedBySigterm(tree.interpreter, request('fa2.system'), 'hanging');
    assert.equal(signal, 'SIGTERM');
    assert.ok(afterMs < 5000, `${afterMs} ms`);
  } finally {
    tree.remove();
  }
});

test('system FA4: a folder without __init__, a newer name in front of it, a stale copy', () => {
  const interface4 = 'flash_attn_func = flash_attn_varlen_func = _flash_attn_fwd = print\n';
  const there = describe('fa4.system', (tree) =>
    tree
      .write('flash_attn/cute/__init__.py', '')
      .write('flash_attn/cute/interface.py', interface4)
      .dist('flash-attn-4', '4.0.0b36'));
  assert.deepEqual([there.available, there.version], [true, '4.0.0b36']);
  const stale = describe('fa4.system', (tree) =>
    tree
      .write('flash_attn/__init__.py', '')
      .write('flash_attn/cute/interface.py', interface4)
      .dist('flash-attn', '2.8.3'));
  assert.deepEqual([stale.available, stale.code], [false, 'notInstalled']);
  assert.match(stale.text, /older flash-attn carries a copy/);
  const shadowed = describe('fa4.system', (tree) => {
    tree.write('zz.pth', `${path.join(tree.root, 'extra')}\n`).dist('flash-attn-4', '4.0.0b36');
    tree.write('flash_attn/cute/interface.py', interface4);
    mkdirSync(path.join(tree.root, 'extra', 'flash_attn'), { recursive: true });
    writeFileSync(path.join(tree.root, 'extra', 'flash_attn', '__init__.py'), '');
  });
  assert.deepEqual([shadowed.available, shadowed.code], [false, 'shadowed']);
  assert.match(shadowed.text, /extra\/flash_attn comes first/);
  // flash-attn-4 alone is no FlashAttention 2
  const none = describe('fa2.system', (tree) => tree.write('flash_attn/cute/interface.py', interface4));
  assert.deepEqual([none.available, none.code], [false, 'notInstalled']);
});

test("vLLM's own libraries are loaded without running vLLM", () => {
  const wrapper = `FA2_AVAILABLE = True
FA3_AVAILABLE = False
FA3_UNAVAILABLE_REASON = "x.so: undefined symbol: abc"
def flash_attn_varlen_func(q, k, v): pass
`;
  const vllm = (tree: EnvironmentTree): EnvironmentTree =>
    tree
      .write('vllm/__init__.py', 'raise RuntimeError("vLLM was run")\n')
      .write('vllm/vllm_flash_attn/__init__.py', 'raise RuntimeError("vLLM was run")\n')
      .write('vllm/vllm_flash_attn/flash_attn_interface.py', wrapper)
      .dist('vllm', '0.24.0');
  const fa2 = describe('fa2.vllm', vllm);
  assert.deepEqual([fa2.available, fa2.version, fa2.text], [true, '0.24.0', '']);
  const fa3 = describe('fa3.vllm', vllm);
  assert.deepEqual([fa3.available, fa3.version, fa3.code], [false, '0.24.0', 'builtForOtherTorch']);
  const fa4 = describe('fa4.vllm', vllm);
  assert.deepEqual([fa4.available, fa4.text], [false, 'The installed vllm carries no FlashAttention 4.']);
  // the one engine that imports vLLM says what vLLM raises
  const triton = describe('triton.vllm', (tree) => {
    vllm(tree).write('torch/nn.py', '');
  });
  assert.deepEqual([triton.available, triton.code], [false, 'importFailed']);
  assert.match(triton.text, /vLLM was run/);
});

test('a torch that cannot use the GPU is named before any case', () => {
  const run = (changes: string) => {
    const library = 'flash_attn_varlen_func = flash_attn_with_kvcache = print\n';
    const outcome = inTree(
      (tree) => withTorch(tree, changes).write('flash_attn/__init__.py', library),
      [request('fa2.system', 'run', [benchCase()], 'GPU-00000000-0000-0000-0000-000000000000')],
    );
    assert.equal(outcome.messages.filter((message) => message.kind === 'row').length, 0);
    assert.equal(outcome.messages.at(-1)?.kind, 'done');
    return only(outcome, 'library').reason;
  };
  assert.equal(run('CUDA = None')?.code, 'cpuOnlyTorch');
  assert.equal(run('')?.code, 'noDevice');
  const other = run(`
class _Properties: major, minor, uuid, name = 9, 0, "00000000-0000-0000-0000-000000000000", "NVIDIA H200"
_Cuda.init = lambda self: None
_Cuda.device_count = lambda self: 1
_Cuda.set_device = lambda self, index: None
_Cuda.get_device_properties = lambda self, index: _Properties
def ones(*a, **k): raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
`);
  assert.equal(other?.code, 'wrongCuda');
  assert.match(other?.text ?? '', /torch 2\.11\.0\+cu130 cannot run on this NVIDIA H200: .*no kernel image/);
  const old = run('WORDS = "The NVIDIA driver on your system is too old (found version 12020)."');
  assert.equal(old?.code, 'wrongCuda');
  assert.match(old?.text ?? '', /built for CUDA 13\.0.*12020/);
});

test('engines of the GPU say so when the device is the CPU', () => {
  const outcome = inTree(() => undefined, [request('flashinfer', 'run', [benchCase()], 'cpu')]);
  assert.equal(only(outcome, 'library').reason?.code, 'needsGpu');
  assert.equal(outcome.messages.at(-1)?.kind, 'done');
});

/** Runs lines of Python with the runner's modules as `session` and `problem`; prints JSON. */
function python(lines: string): unknown {
  const program = `
import importlib, json, sys
sys.path.insert(0, ${JSON.stringify(path.dirname(BENCH_SCRIPT))})
import bench_backends
session = bench_backends.load(${JSON.stringify(path.dirname(BENCH_SCRIPT))})
problem = importlib.import_module(bench_backends.PACKAGE + ".problem")
CASE = json.loads(${JSON.stringify(JSON.stringify(benchCase()))})
${lines}`;
  return JSON.parse(execFileSync('python3', ['-B', '-c', program], { encoding: 'utf8' })) as unknown;
}

test('pages, rows and random bits are those of the native runner', () => {
  // page tables and bits as native/src/page_table.cc and random_inputs.h give them
  const paged = python(`
case = dict(CASE, batch=3, qHeads=4, kvHeads=4, qLens=10, kvLens=[130, 17, 64], pageSize=16)
twice = dict(case, seed=7 + (3 << 28))
p = problem.Problem(case)
print(json.dumps([hex(problem.random_bits(7, 1, 12345)), p.pages, problem.Problem(twice).pages[0], p.sample_rows(3), p.kv_bytes(),
  p.flops(), problem.Problem(dict(case, window=9)).flops(), problem.Problem(dict(case, causal=False)).flops()]))`);
  const row1 = [1, 7, 4, 10, 15, 3, 11, 12, 5];
  assert.deepEqual(paged, [
    '0xa8b83cca69413804',
    [[row1, [6, 0], [9, 2, 14, 8]], 16, 13],
    [
      [0, 0, 4, 4, 3, 3, 2, 2, 6],
      [8, 8],
      [5, 5, 1, 1],
    ],
    [
      [0, 0, 0],
      [0, 1, 0],
      [2, 9, 3],
    ],
    211 * 4 * 128 * 2,
    2 * 128 * 4 * (1255 + 125 + 595),
    2 * 128 * 4 * (90 + 89 + 90),
    2 * 128 * 4 * 10 * 211,
  ]);
});

test('cases that contradict themselves are named by their field', () => {
  const codes = python(`
def code(**changes):
    try:
        problem.Problem(dict(CASE, **changes))
    except problem.BadCase as error:
        return error.code
print(json.dumps([code(), code(batch=0), code(qHeads=3), code(kvLens=[1]), code(qLens=0), code(window=4, causal=False), code(kvScale=2),
  code(headDim=0), code(pageSize=0), code(op="mlaDecode", headDim=576, headDimV=512)]))`);
  assert.deepEqual(codes, [
    null,
    'batch',
    'headGroup',
    'kvLens',
    'noQueries',
    'window',
    'kvScale',
    'headDim',
    'pageSize',
    'mlaShape',
  ]);
});

test('what a call raises is told apart: refused, out of memory, device lost, called wrongly, failed', () => {
  const outcomes = python(`
class Device:
    name = "cuda"
    def __init__(self, lost): self.is_lost = lost
    def lost(self): return self.is_lost
class OutOfMemoryError(RuntimeError): pass
import linecache
linecache.cache["lib.py"] = (13, None, ["assert 1 > 2\\n"], "lib.py")
def outcome(error, stage="call", lost=False):
    try:
        raise error if isinstance(error, BaseException) else error()
    except BaseException as caught:
        return session.classify(caught, stage, Device(lost))[:2]
advice = "CUDA error: invalid argument\\nCompile with TORCH_USE_CUDA_DSA to enable device-side assertions."
try: exec(compile("assert 1 > 2", "lib.py", "exec"))
except AssertionError as caught: said = session.classify(caught, "call", Device(False))[2]
print(json.dumps([
  outcome(AssertionError("head_dim must be at most 256")), outcome(NotImplementedError("no sinks")),
  outcome(OutOfMemoryError("CUDA out of memory. Tried to allocate")), outcome(MemoryError()),
  outcome(RuntimeError("CUDA error: an illegal memory access was encountered"), lost=True), outcome(RuntimeError(advice)),
  outcome(TypeError("f() got an unexpected keyword argument 'x'")), outcome(RuntimeError("x::fwd() expected at most 3 argument(s) but received 4")),
  outcome(AttributeError("no fwd")), outcome(SystemExit(1)), outcome(RuntimeError("Could not find nvcc and CUDA_HOME")),
  outcome(RuntimeError("it broke"), stage="time"), session.classify(RuntimeError(advice), "call", Device(False))[2], said]))`);
  assert.deepEqual(outcomes, [
    ['unsupported', 'refusedByLibrary'],
    ['unsupported', 'refusedByLibrary'],
    ['outOfMemory', 'outOfMemory'],
    ['outOfMemory', 'outOfMemory'],
    ['crashed', 'deviceLost'],
    ['failed', 'cudaError'],
    ['failed', 'adapterMismatch'],
    ['failed', 'adapterMismatch'],
    ['failed', 'libraryFailed'],
    ['failed', 'libraryExited'],
    ['failed', 'noCompiler'],
    ['failed', 'failed'],
    'RuntimeError: CUDA error: invalid argument',
    'AssertionError: assert 1 > 2 (lib.py:1)',
  ]);
});

test('a case that is held is prepared once, and given up for another one, a failure or a request that does not hold it', () => {
  const trail = python(`
trail = []
class Runner(object):
    def __init__(self, wire, adapter, device): self.name = None
    def first(self, request, index, case):
        self.name = case["name"]
        trail.append("first " + self.name)
        return {"status": case.get("status", "ok")}
    def again(self, request, index):
        trail.append("again " + self.name)
        return {"status": "ok"}
class Device(object):
    def release(self): trail.append("release")
session.CaseRunner = Runner
kept = session.Session(None)
def turn(name, hold=True, command="run", **more):
    request = {"engine": "ffpa", "deviceId": "g", "command": command, "options": {"hold": hold}}
    kept._turn(None, Device(), request, {"caseIndex": 0, "case": dict(more, name=name)})
turn("a"); turn("a"); turn("a", command="warm"); turn("a"); turn("b"); turn("b", hold=False); turn("b", status="wrong"); turn("c", hold=False)
print(json.dumps(trail))`);
  assert.deepEqual(trail, [
    ...['first a', 'again a', 'release', 'first a', 'release', 'first a', 'release', 'first b', 'again b', 'release'],
    ...['first b', 'release', 'first c', 'release'],
  ]);
});

test('a Python that is too old says so, and nothing is written beside the script', () => {
  const folder = path.dirname(BENCH_SCRIPT);
  const program = `import sys, runpy; sys.version_info = (3, 7, 1); runpy.run_path(${JSON.stringify(BENCH_SCRIPT)}, run_name="__main__")`;
  const said = execFileSync('python3', ['-c', program], { encoding: 'utf8', input: `${request('ffpa')}\n` });
  assert.match(said, /"pythonTooOld"/);
  assert.match(said, /"done"/);
  inTree(() => undefined, [request('ffpa')]);
  const left = [folder, path.join(folder, 'backends')].flatMap((each) => readdirSync(each));
  assert.ok(!left.includes('__pycache__'), left.join(' '));
});

test('an output rounded to 16 bits once more is less precise, not wrong; more than that is wrong', () => {
  const limit = (floor: number, dtype: string): number =>
    Number(
      execFileSync(
        'python3',
        ['-B', '-c', `from backends.limits import output_limit; print(output_limit(${floor}, "${dtype}"))`],
        { cwd: path.dirname(BENCH_SCRIPT), encoding: 'utf8' },
      ),
    );
  // FlashInfer over a split KV cache of 128k tokens, head size 128, on an H200: 3.31e-3 where rounding P and O costs 2.39e-3.
  assert.ok(limit(2.39e-3, 'bf16') > 3.31e-3);
  assert.ok(limit(2.39e-3, 'bf16') < 4e-3);
  // A floor of a handful of rows may fall below what rounding the output costs; the limit does not follow it down.
  assert.equal(limit(1e-5, 'fp16'), limit(2e-4, 'fp16'));
});

/** Virtual environments made by hand for probe tests: a link to the real Python, a pyvenv.cfg, and fixture trees. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { EnvironmentFacts } from '../../../extension/core/environment';
import { probePythonEnvironment } from '../../../extension/node/pythonProbe';

export const PROBE_SCRIPT = path.resolve('extension/python/probe.py');
const FIXTURES = path.resolve('test/fixtures/environments');

const [EXECUTABLE = '', VERSION = ''] = execFileSync(
  'python3',
  ['-c', 'import sys; print(sys.executable); print("%d.%d" % sys.version_info[:2])'],
  { encoding: 'utf8' },
).split('\n');

/** A virtual environment in a folder of its own. */
export class EnvironmentTree {
  readonly root: string;
  readonly sitePackages: string;
  readonly interpreter: string;

  /** `name` becomes part of the path, to try odd ones. */
  constructor(name = 'env') {
    this.root = mkdtempSync(path.join(os.tmpdir(), `attn-diag-${name}-`));
    this.sitePackages = path.join(this.root, 'lib', `python${VERSION}`, 'site-packages');
    this.interpreter = path.join(this.root, 'bin', 'python');
    mkdirSync(this.sitePackages, { recursive: true });
    mkdirSync(path.dirname(this.interpreter));
    symlinkSync(EXECUTABLE, this.interpreter);
    writeFileSync(path.join(this.root, 'pyvenv.cfg'), `home = ${path.dirname(EXECUTABLE)}\n`);
  }

  /** Copies fixture trees into site-packages. */
  add(...trees: readonly string[]): this {
    for (const tree of trees) cpSync(path.join(FIXTURES, tree), this.sitePackages, { recursive: true });
    return this;
  }

  /** Writes one file below site-packages. */
  write(file: string, text: string): this {
    const target = path.join(this.sitePackages, file);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
    return this;
  }

  /** Writes the metadata of a distribution. */
  dist(name: string, version: string, requires: readonly string[] = []): this {
    const lines = ['Metadata-Version: 2.1', `Name: ${name}`, `Version: ${version}`];
    const text = [...lines, ...requires.map((item) => `Requires-Dist: ${item}`), ''].join('\n');
    return this.write(`${name.replaceAll('-', '_')}-${version}.dist-info/METADATA`, text);
  }

  probe(deadlineMs = 20_000): Promise<EnvironmentFacts> {
    return probePythonEnvironment({
      interpreter: this.interpreter,
      scriptPath: PROBE_SCRIPT,
      env: { ...process.env, PYTHONPATH: '/nonexistent', PYTHONSTARTUP: '/nonexistent' },
      deadlineMs,
    });
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

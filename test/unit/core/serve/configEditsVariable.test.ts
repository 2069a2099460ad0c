/** Removing a dead variable leaves a file that still works, or there is no fix: per kind of file, what stands afterwards. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { applyTextEdits } from '../../../../extension/core/serve/configEdits';
import { configFixes } from '../../../../extension/core/serve/configEditsFixes';

const X = 'VLLM_ATTENTION_BACKEND';

/** The text after the fix, `null` when there is none. */
function without(path: string, text: string): string | null {
  const [fix] = configFixes({ id: `dead-env-variable:${X}`, code: 'dead-env-variable' }, path, text, '0.33.0');
  return fix === undefined ? null : applyTextEdits(text, fix.edits);
}

type Row = readonly [what: string, before: string, after: string | null];

function rows(path: string, table: readonly Row[]): void {
  for (const [what, before, after] of table) {
    test(`${path}: ${what}`, () => assert.equal(without(path, before), after));
  }
}

const RUN = 'vllm/vllm-openai --model m';

describe('containers started by a command: the option goes with the variable', () => {
  rows('run.sh', [
    ['-e', `docker run -e ${X}=A -e FOO=1 ${RUN}\n`, `docker run -e FOO=1 ${RUN}\n`],
    ['--env', `docker run --env ${X}=A --gpus all ${RUN}\n`, `docker run --gpus all ${RUN}\n`],
    ['--env=', `docker run --gpus all --env=${X}=A ${RUN}\n`, `docker run --gpus all ${RUN}\n`],
    ['quotes around both', `docker run -e "${X}=A" ${RUN}\n`, `docker run ${RUN}\n`],
    ['quotes behind --env=', `docker run --env="${X}=A" ${RUN}\n`, `docker run ${RUN}\n`],
    ['quotes around the value', `docker run --env=${X}="A" ${RUN}\n`, `docker run ${RUN}\n`],
    ['a line of its own', `docker run \\\n  -e ${X}=A \\\n  ${RUN}\n`, `docker run \\\n  ${RUN}\n`],
    ['on two lines', `docker run \\\n  -e \\\n  ${X}=A \\\n  ${RUN}\n`, `docker run \\\n  ${RUN}\n`],
    ['inside a quoted script', `bash -c "docker run -e ${X}=A ${RUN}"\n`, `bash -c "docker run ${RUN}"\n`],
  ]);
});

describe('scripts: a command that did nothing else goes as a whole, and no block is left empty', () => {
  rows('run.sh', [
    ['the only statement of then', `if true; then\n  export ${X}=A\nfi\nvllm serve m\n`, null],
    ['behind a comment', `if true; then # why\n  # because\n  export ${X}=A # x\n\nfi\n`, null],
    ['of else', `if a; then\n  b\nelse\n  export ${X}=A\nfi\n`, null],
    ['of a condition', `while\n  ${X}=A\ndo\n  b\ndone\n`, null],
    ['of a loop', `for i in 1 2; do\n  ${X}=A;\ndone\n`, null],
    ['of a function', `f() {\n  export ${X}=A\n}\n`, null],
    ['of a group', `{\n  export ${X}=A; }\n`, null],
    ['of a subshell', `(\n  export ${X}=A\n)\n`, null],
    ['in one line', `if true; then export ${X}=A; fi\n`, null],
    ['after &&', `true &&\n  export ${X}=A\nvllm serve m\n`, null],
    ['after ||, which the command below would then stand behind', `true || export ${X}=A\nvllm serve m\n`, null],
    ['alone before a pipe', `export ${X}=A | cat\n`, null],
    ['with a redirection', `export ${X}=A 2>/dev/null\n`, null],
    ['used elsewhere', `export ${X}=A\necho "$${X}"\nvllm serve m\n`, null],
    ['another statement in the block', `if true; then\n  export ${X}=A\n  a\nfi\n`, 'if true; then\n  a\nfi\n'],
    ['the last of a block', `f() {\n  a\n  export ${X}=A\n}\n`, 'f() {\n  a\n}\n'],
    ['with its own default', `export ${X}="\${${X}:-A}"\nvllm serve m\n`, 'vllm serve m\n'],
    ['before ;', `export ${X}=A; vllm serve m\n`, 'vllm serve m\n'],
    ['before &&', `  export ${X}=A &&\n  vllm serve m\n`, '  vllm serve m\n'],
    ['before ; and a comment', `a\nexport ${X}=A; # x\nb\n`, 'a\nb\n'],
    ['the first of two exports', `export ${X}=A B=1\n`, 'export B=1\n'],
    ['the last of two over lines', `export B=1 \\\n  ${X}=A\nvllm serve m\n`, 'export B=1\nvllm serve m\n'],
    [
      'the last of two in one line',
      `then_=1\nif a; then export B=1 ${X}=A; fi\n`,
      'then_=1\nif a; then export B=1 ; fi\n',
    ],
    ['before a command over lines', `${X}=A \\\n  vllm serve m\n`, 'vllm serve m\n'],
    ['before a command of a block', `if a; then ${X}=A vllm serve m; fi\n`, 'if a; then vllm serve m; fi\n'],
    ['inside a quoted script', `bash -c '${X}=A vllm serve m'\n`, `bash -c 'vllm serve m'\n`],
    ['all of a quoted script', `bash -c "export ${X}=A"\n`, null],
    [
      'a here-document',
      `ssh h bash <<EOF\nexport ${X}=A\nvllm serve m\nEOF\n`,
      'ssh h bash <<EOF\nvllm serve m\nEOF\n',
    ],
    ['Windows line ends', `a\r\nexport ${X}=A\r\nb\r\n`, 'a\r\nb\r\n'],
  ]);
});

describe('Dockerfiles', () => {
  rows('Dockerfile', [
    ['first of several', `FROM x\nENV ${X}=A \\\n    B=2\n`, 'FROM x\nENV B=2\n'],
    ['last of several', `FROM x\nENV B=2 \\\n    ${X}=A\nRUN y\n`, 'FROM x\nENV B=2\nRUN y\n'],
    ['in the middle', `FROM x\nENV B=2 ${X}=A C=3\n`, 'FROM x\nENV B=2 C=3\n'],
    ['in lower case', `FROM x\nenv ${X}=A\nRUN y\n`, 'FROM x\nRUN y\n'],
    ['the old form', `FROM x\nENV ${X} A\nRUN y\n`, 'FROM x\nRUN y\n'],
    ['the old form with blanks', `FROM x\nENV ${X} A B\nRUN y\n`, null],
    ['before the command', `FROM x\nCMD ${X}=A vllm serve m -tp 2\n`, 'FROM x\nCMD vllm serve m -tp 2\n'],
    ['alone before &&', `FROM x\nRUN export ${X}=A && vllm serve m\n`, null],
    ['in a list', `FROM x\nCMD ["env", "${X}=A", "vllm", "serve", "m", "--block-size", "16"]\n`, null],
    ['in the middle of a continued line', `FROM x\nRUN a; \\\n  export ${X}=A; \\\n  b\n`, null],
  ]);
});

const POD = 'apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: a\n      image: vllm/vllm-openai:v0.33.0\n';

describe('Kubernetes: the whole list item goes', () => {
  rows('pod.yaml', [
    [
      'one of several',
      `${POD}      env:\n        # ours\n        - name: ${X}\n          value: A # old\n        # theirs\n        - name: B\n          value: "1"\n`,
      `${POD}      env:\n        # ours\n        # theirs\n        - name: B\n          value: "1"\n`,
    ],
    [
      'the last, value first',
      `${POD}      env:\n      - name: B\n        value: "1"\n      - value: A\n        name: ${X}\n      ports: []\n`,
      `${POD}      env:\n      - name: B\n        value: "1"\n      ports: []\n`,
    ],
    [
      'the only one',
      `${POD}      env:\n        - name: ${X}\n          value: A\n      ports: []\n`,
      `${POD}      ports: []\n`,
    ],
    [
      'in braces',
      `${POD}      env: [{name: ${X}, value: A}, {name: B, value: "1"}]\n`,
      `${POD}      env: [{name: B, value: "1"}]\n`,
    ],
    ['the only one in braces', `${POD}      env: [{name: ${X}, value: A}]\n`, POD],
    [
      'in a second document',
      `apiVersion: v1\nkind: Service\n---\n${POD}      env:\n        - name: ${X}\n          value: A\n`,
      `apiVersion: v1\nkind: Service\n---\n${POD}`,
    ],
    [
      'a script',
      `${POD}      args:\n        - bash\n        - -c\n        - |\n          export ${X}=A\n          vllm serve m\n`,
      `${POD}      args:\n        - bash\n        - -c\n        - |\n          vllm serve m\n`,
    ],
    [
      'a block of a script',
      `${POD}      args:\n        - bash\n        - -c\n        - |\n          if a; then\n            export ${X}=A\n          fi\n`,
      null,
    ],
    [
      'used by an argument',
      `${POD}      args: ["--x", "$(${X})"]\n      env:\n        - {name: ${X}, value: A}\n`,
      null,
    ],
  ]);
});

describe('compose', () => {
  const service = 'services:\n  a:\n    image: x\n';
  rows('compose.yaml', [
    ['the only one of a list', `${service}    environment:\n      - ${X}=A\n`, service],
    [
      'the only one of a mapping',
      `${service}    environment:\n      ${X}: A\n    ports: []\n`,
      `${service}    ports: []\n`,
    ],
    ['a list in brackets', `${service}    environment: [B=1, "${X}=A"]\n`, `${service}    environment: [B=1]\n`],
    ['a mapping in braces', `${service}    environment: {${X}: A, B: 1}\n`, `${service}    environment: {B: 1}\n`],
    [
      'passed through',
      `${service}    environment:\n      ${X}:\n      B: 1\n`,
      `${service}    environment:\n      B: 1\n`,
    ],
    ['all that a service says', `services:\n  a:\n    environment:\n      - ${X}=A\n`, null],
    ['an argument', `${service}    command: ["env", "${X}=A", "vllm", "serve", "m", "--block-size", "16"]\n`, null],
    [
      'a service that is called environment',
      `services:\n  environment:\n    image: x\n    command: bash -c "${X}=A vllm serve m"\n`,
      null,
    ],
  ]);
});

describe('launch.json', () => {
  const file = (env: string): string => `{"configurations": [{"module": "vllm", "env": ${env}}]}\n`;
  rows('launch.json', [
    ['the only one', file(`{"${X}": "A"}`), file('{}')],
    ['the first', file(`{"${X}": "A", "B": "1"}`), file('{"B": "1"}')],
    ['the last', file(`{"B": "1", "${X}": "A"}`), file('{"B": "1" }')],
    ['the last over lines', file(`{\n  "B": "1", // b\n  "${X}": "A" // x\n}`), file('{\n  "B": "1" // b\n}')],
    ['a trailing comma', file(`{\n  "${X}": "A",\n}`), file('{\n}')],
    ['the first over lines', file(`{\n  "${X}": "A", // x\n  "B": "1"\n}`), file('{\n  "B": "1"\n}')],
    ['a comment before the comma', file(`{"B": "1" /* b */, "${X}": "A"}`), null],
    ['an argument', `{"configurations": [{"program": "docker", "args": [\n  "run",\n  "-e",\n  "${X}=A"\n]}]}\n`, null],
  ]);
});

describe('.env', () => {
  rows('.env', [
    ['a line', `A=1\n${X}=A # x\nB=2`, 'A=1\nB=2'],
    ['more behind it', `${X}=A; B=2\n`, null],
    ['used by another', `${X}=A\nB=\${${X}}\n`, null],
  ]);
});

/**
 * Variables of a script as far as the text alone tells their value: literals assigned once the script runs line by line.
 * What depends on a condition, a loop, a function's caller, another file or the outside is not known.
 */
import type { VariableOrigin, Word } from './serveConfigSource';

/** A variable's value and where it stands. */
export interface ShellVariable {
  readonly value: string;
  readonly offsets: readonly number[] | null;
  readonly start: number;
  readonly end: number;
  readonly kind: VariableOrigin['kind'];
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Words that may stand before an assignment without keeping it from the commands that follow. */
const DECLARES = new Set(['export', 'declare', 'readonly', 'typeset', 'local']);

/** Keywords that may stand before the first word of a command. */
const KEYWORDS = new Set(['then', 'else', 'elif', 'do', 'if', 'while', 'until', '!', 'time']);

/** Commands whose operands are names they set. */
const SETTERS = new Set(['read', 'unset', 'mapfile', 'readarray', 'getopts', 'printf', 'for', 'select', 'let']);

/** The assignments of a command that does nothing else; empty for any other command. */
function assignmentsOf(
  words: readonly Word[],
): readonly { readonly name: string; readonly word: Word; adds: boolean }[] {
  const rest = words.filter(
    (word, index) => !(index === 0 && DECLARES.has(word.value)) && !/^-[a-zA-Z]+$/.test(word.value),
  );
  const found = rest.flatMap((word) => {
    const match = /^([A-Za-z_][A-Za-z0-9_]*)(\+?)=/.exec(word.value);
    return match?.[1] === undefined ? [] : [{ name: match[1], word, adds: match[2] === '+' }];
  });
  return found.length === rest.length ? found : [];
}

/** Variables while a script is read from top to bottom. */
export class ShellScope {
  private readonly variables = new Map<string, ShellVariable | null>();
  private readonly arrays = new Map<string, readonly Word[] | null>();
  private readonly unstable = new Set<string>();
  private outsideKnown = true;

  /** A variable of the text; `null` = it has one, but which is not known; `undefined` = the text does not set it. */
  get(name: string): ShellVariable | null | undefined {
    if (this.unstable.has(name)) return null;
    return this.variables.get(name) ?? (this.variables.has(name) || !this.outsideKnown ? null : undefined);
  }

  /** The elements of an array, `null` when not known. */
  array(name: string): readonly Word[] | null {
    return this.unstable.has(name) ? null : (this.arrays.get(name) ?? null);
  }

  set(name: string, variable: ShellVariable | null): void {
    if (NAME.test(name)) this.variables.set(name, variable);
  }

  /** `NAME=(…)` and `NAME+=(…)`. */
  setArray(name: string, elements: readonly Word[], adds: boolean): void {
    const before = adds ? this.arrays.get(name) : [];
    this.arrays.set(name, before === undefined || before === null ? null : [...before, ...elements]);
  }

  /** Takes over what a command assigns, for the commands behind it. */
  run(words: readonly Word[]): void {
    const [first] = words;
    if (first === undefined) return;
    if (first.value === 'source' || first.value === '.' || first.value === 'eval') {
      if (/(^|\/)(activate|conda\.sh)$/.test(words[1]?.value ?? '')) return;
      for (const name of this.variables.keys()) this.variables.set(name, null);
      this.outsideKnown = false;
      return;
    }
    for (const { name, word, adds } of assignmentsOf(words)) {
      const from = word.value.indexOf('=') + 1;
      const defaulted = word.resolved?.origins.some((origin) => origin.kind === 'default') === true;
      const offsets = word.offsets?.slice(from) ?? null;
      this.set(
        name,
        word.dynamic || adds
          ? null
          : {
              value: word.value.slice(from),
              offsets,
              start: offsets?.[0] ?? word.start,
              end: (offsets?.at(-1) ?? word.end - 1) + 1,
              kind: defaulted ? 'default' : 'assigned',
            },
      );
    }
  }

  /**
   * Notes what keeps names from having one value, before the script is read: `conditional` commands run or not, or more
   * than once.
   */
  survey(words: readonly Word[], conditional: boolean): void {
    const from = words.findIndex((word) => !KEYWORDS.has(word.value));
    const command = from === -1 ? [] : words.slice(from);
    const first = command[0]?.value ?? '';
    if (SETTERS.has(first)) {
      for (const { value } of command.slice(1)) if (NAME.test(value)) this.unstable.add(value);
    }
    if (!conditional && first !== 'local') return;
    for (const { name } of assignmentsOf(command)) this.unstable.add(name);
    for (const { value } of command) {
      const assigning = /\$\{([A-Za-z_][A-Za-z0-9_]*):?=/.exec(value)?.[1];
      if (assigning !== undefined) this.unstable.add(assigning);
    }
  }

  /** An array that a conditional command sets or adds to. */
  surveyArray(name: string, conditional: boolean): void {
    if (conditional) this.unstable.add(name);
  }
}

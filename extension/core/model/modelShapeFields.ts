/**
 * Checked reading of config.json fields: a value of the wrong kind names its field and ends the reading.
 * Nothing is converted: `"64"` is not 64.
 */

/** Why a config.json was refused. */
export type ModelShapeErrorCode =
  /** The document, or a part that has to be one, is not a JSON object. */
  | 'notAnObject'
  /** A field holds another kind of value than it should (a string for a number, a fraction for a count). */
  | 'wrongType'
  /** A number that cannot be one of its kind: negative or zero heads, a million layers. */
  | 'outOfRange'
  /** A field that is needed is absent and its class has no default. */
  | 'missingField'
  /** A division the model's shape rests on leaves a remainder. */
  | 'notDivisible'
  /** A layout this reader does not know; it says so instead of guessing. */
  | 'unsupported';

/** A refusal: the field it is about (`text_config.num_attention_heads`) and a full sentence. */
export interface ModelShapeError {
  readonly code: ModelShapeErrorCode;
  readonly field: string;
  readonly problem: string;
}

/** Carries a refusal from where it is found to `readModelShape`, which alone catches it. */
export class ModelShapeFailure extends Error {
  constructor(readonly refusal: ModelShapeError) {
    super(refusal.problem);
  }
}

/** Ends the reading. */
export function refuse(code: ModelShapeErrorCode, field: string, problem: string): never {
  throw new ModelShapeFailure({ code, field, problem });
}

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** True for a JSON object, not for an array or null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a value looks like in a message; never the value itself when it could be long. */
function shown(value: unknown): string {
  if (typeof value === 'string') return value.length <= 32 ? `the string ${JSON.stringify(value)}` : 'a string';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'a list' : value === null ? 'null' : `an ${typeof value}`;
}

/** Largest value of any size in a config; larger ones are mistakes and would only make later products meaningless. */
const SIZE_LIMIT = 16_777_216;

/**
 * The fields of one JSON object, with the defaults of its config class behind it. An own value, also null, wins over a
 * default.
 */
export class Fields {
  constructor(
    private readonly object: JsonObject,
    /** Where the object stands, for messages: `` or `text_config.`. */
    private readonly prefix: string,
    private readonly defaults: Readonly<Record<string, number | boolean>> = {},
    private readonly aliases: Readonly<Record<string, readonly string[]>> = {},
  ) {}

  /** Fields whose value came from the class and not from the file. */
  readonly defaulted = new Set<string>();

  /** Full name of a field in messages. */
  nameOf(field: string): string {
    return this.prefix + field;
  }

  /** The raw value, `undefined` when absent or null. */
  raw(field: string): unknown {
    for (const name of [field, ...(this.aliases[field] ?? [])]) {
      // A written null means "none", and keeps the default away, as it does for the config class.
      if (Object.hasOwn(this.object, name)) return this.own(name);
    }
    if (!Object.hasOwn(this.defaults, field)) return undefined;
    this.defaulted.add(field);
    return this.defaults[field];
  }

  /** The raw value when the config itself has it, without defaults. */
  own(field: string): unknown {
    return Object.hasOwn(this.object, field) ? (this.object[field] ?? undefined) : undefined;
  }

  /** True when the config's class has a default for the field. */
  hasDefault(field: string): boolean {
    return Object.hasOwn(this.defaults, field);
  }

  /** A whole number of at least `min`; `null` when absent. */
  integer(field: string, min: number): number | null {
    const value = this.raw(field);
    return value === undefined ? null : checkedInteger(value, this.nameOf(field), min);
  }

  /** A finite number; `null` when absent. */
  number(field: string): number | null {
    const value = this.raw(field);
    if (value === undefined) return null;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      return refuse('wrongType', this.nameOf(field), `${this.nameOf(field)} must be a number, not ${shown(value)}.`);
    }
    return value;
  }

  /** A boolean; `null` when absent. */
  boolean(field: string): boolean | null {
    const value = this.raw(field);
    if (value === undefined) return null;
    if (typeof value !== 'boolean') {
      return refuse(
        'wrongType',
        this.nameOf(field),
        `${this.nameOf(field)} must be true or false, not ${shown(value)}.`,
      );
    }
    return value;
  }

  /** A string; `null` when absent. */
  text(field: string): string | null {
    const value = this.raw(field);
    if (value === undefined) return null;
    if (typeof value !== 'string') {
      return refuse('wrongType', this.nameOf(field), `${this.nameOf(field)} must be a string, not ${shown(value)}.`);
    }
    return value;
  }

  /** A list; `null` when absent. */
  list(field: string): readonly unknown[] | null {
    const value = this.raw(field);
    if (value === undefined) return null;
    if (!Array.isArray(value)) {
      return refuse('wrongType', this.nameOf(field), `${this.nameOf(field)} must be a list, not ${shown(value)}.`);
    }
    return value as readonly unknown[];
  }

  /** A list of whole numbers of at least `min`; `null` when absent. */
  integers(field: string, min: number): readonly number[] | null {
    const values = this.list(field);
    return values === null
      ? null
      : values.map((value, index) => checkedInteger(value, `${this.nameOf(field)}[${index}]`, min));
  }

  /** A nested object as fields of its own; `null` when absent. */
  nested(field: string): Fields | null {
    const value = this.raw(field);
    if (value === undefined) return null;
    if (!isJsonObject(value)) {
      return refuse('notAnObject', this.nameOf(field), `${this.nameOf(field)} must be an object, not ${shown(value)}.`);
    }
    return new Fields(value, `${this.nameOf(field)}.`);
  }
}

/** `value` as a whole number within its bounds, or a refusal that names `field`. */
export function checkedInteger(value: unknown, field: string, min: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    return refuse('wrongType', field, `${field} must be a whole number, not ${shown(value)}.`);
  }
  if (value < min || value > SIZE_LIMIT) {
    return refuse('outOfRange', field, `${field} is ${value}; it must be between ${min} and ${SIZE_LIMIT}.`);
  }
  return value;
}

/** What the fake helper is told to do. */
export interface FakeBehaviour {
  /** One line per start. */
  readonly counterFile: string;
  /** Receives the environment it was started with. */
  readonly environmentFile?: string;
  readonly dieAtStart?: 'always' | 'once';
  readonly hello?: 'never' | 'otherVersion';
  /** What a probe does first: segv, kill, exit, hang, block, garbage, oversize, flood, print. */
  readonly probe?: string;
  readonly onlyFirstStart?: boolean;
  readonly probeDelayMs?: number;
  /** Has the GPU of sampleFacts.ts. */
  readonly gpu?: boolean;
  /** Action by the seed of the case; `untilCancelled` waits for the cancel and answers it. */
  readonly cases?: Readonly<Record<string, string>>;
  readonly exitAfterRow?: number;
  readonly ignoreSigterm?: boolean;
  readonly ignoreStdinEnd?: boolean;
}

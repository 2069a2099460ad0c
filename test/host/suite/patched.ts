/** Replaces members of the editor's API for one test: dialogs that nobody answers, toasts that nobody reads. */

const undo: (() => void)[] = [];

/** Puts `replacement` in the place of `target[name]` until {@link restorePatches}. */
export function patch<T extends object, K extends keyof T>(target: T, name: K, replacement: T[K]): void {
  const original = Object.getOwnPropertyDescriptor(target, name);
  Object.defineProperty(target, name, { value: replacement, configurable: true, enumerable: true });
  undo.push(() => {
    if (original !== undefined) Object.defineProperty(target, name, original);
  });
}

/** Puts everything back. */
export function restorePatches(): void {
  for (const restore of undo.splice(0).reverse()) restore();
}

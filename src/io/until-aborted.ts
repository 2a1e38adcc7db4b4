/**
 * The result of `promise`, unless `abortSignal` is aborted first: then its reason. Nothing is kept afterwards.
 * (Promise.race against one promise that lives as long as the upload would keep every result until that one settles:
 * the whole upload stays in memory.)
 */
export function untilAborted<T>(promise: PromiseLike<T>, abortSignal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortSignal.reason as Error);
    if (abortSignal.aborted) onAbort();
    abortSignal.addEventListener('abort', onAbort);
    const settle = (outcome: () => void): void => {
      abortSignal.removeEventListener('abort', onAbort);
      outcome();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error as Error)),
    );
  });
}

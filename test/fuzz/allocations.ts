/** The largest buffer that was made since the last question, in bytes. */
export interface AllocationWatch {
  largest(): number;
  stop(): void;
}

const WATCHED = ['Uint8Array', 'Uint32Array', 'Float64Array', 'ArrayBuffer'] as const;

/** Sees every typed array that is made anew, by putting a proxy before the constructors until `stop`. */
export function watchAllocations(): AllocationWatch {
  let largest = 0;
  const see = (bytes: number): void => {
    if (bytes > largest) largest = bytes;
  };
  const room = globalThis as Record<string, unknown>;
  const originals = new Map<string, unknown>();
  for (const name of WATCHED) {
    const original = globalThis[name] as unknown as new (...args: unknown[]) => object;
    originals.set(name, original);
    const elementBytes = 'BYTES_PER_ELEMENT' in original ? Number(original.BYTES_PER_ELEMENT) : 1;
    room[name] = new Proxy(original, {
      construct(target, args: unknown[], newTarget) {
        const [length] = args;
        if (typeof length === 'number') see(length * elementBytes);
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
  }
  const buffers = { alloc: Buffer.alloc.bind(Buffer), allocUnsafe: Buffer.allocUnsafe.bind(Buffer) };
  Object.assign(Buffer, {
    alloc(size: number, ...rest: []) {
      see(size);
      return buffers.alloc(size, ...rest);
    },
    allocUnsafe(size: number) {
      see(size);
      return buffers.allocUnsafe(size);
    },
  });
  return {
    largest() {
      const seen = largest;
      largest = 0;
      return seen;
    },
    stop() {
      for (const [name, original] of originals) room[name] = original;
      Object.assign(Buffer, buffers);
    },
  };
}

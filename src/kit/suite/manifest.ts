import type { Expected, ExpectedInspect, ExpectedVerify, FaultFamily } from '../faults/fault.js';

/** What `manifest.json` of a suite says; the README of the suite explains it. Sizes in bytes, digests in lower-case hex. */
export interface Manifest {
  /** 1; another number for whatever is not compatible with that. */
  readonly manifestVersion: 1;
  readonly madeBy: string;
  readonly seed: string;
  /** Seconds since 1970 of every timestamp. */
  readonly sourceDateEpoch: number;
  readonly tools: Readonly<Record<string, string>>;
  readonly keys: readonly ManifestKey[];
  readonly images: readonly ManifestImage[];
}

export interface ManifestKey {
  /** Below the folder of the suite. */
  readonly file: string;
  readonly what: string;
  readonly fingerprints: readonly string[];
}

/** Null where there is nothing to say, so that every entry has the same fields. */
type OrNull<T> = { readonly [Name in keyof T]: Exclude<T[Name], undefined> | null };

export interface ManifestExpected extends Omit<OrNull<Expected>, 'inspect' | 'verify' | 'mount'> {
  readonly inspect: OrNull<ExpectedInspect>;
  readonly verify: OrNull<ExpectedVerify>;
  readonly mount: OrNull<Exclude<Expected['mount'], undefined>> | null;
}

export interface ManifestImage {
  readonly name: string;
  /** Below the folder of the suite. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** What an importer is told: the length of the file, except for the two stream faults. */
  readonly announcedLength: number;
  readonly format: string;
  readonly filesystem: string;
  /** Of the disk, as it was built. */
  readonly virtualSize: number;
  readonly fault: string | null;
  readonly family: FaultFamily | null;
  readonly what: string;
  /** What a good consumer does. */
  readonly consumer: string;
  /** The keys to verify it with. */
  readonly keyring: string;
  /** A detached signature, where there is one. */
  readonly signature: string | null;
  /** What `patch` was before anything was done to it. */
  readonly upload: { readonly bytes: number; readonly sha256: string };
  readonly expected: ManifestExpected;
}

export function manifestExpected(expected: Expected): ManifestExpected {
  const { inspect, verify, gpgv, qemuImg, fsck, mount } = expected;
  return {
    inspect: { ...inspect, findings: inspect.findings ?? null },
    verify: { ...verify, findings: verify.findings ?? null },
    import: expected.import,
    mount: mount === undefined ? null : { ...mount, patch: mount.patch ?? null },
    apply: expected.apply,
    gpgv: gpgv ?? null,
    fsck: fsck ?? null,
    qemuImg: qemuImg ?? null,
  };
}

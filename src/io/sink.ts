/**
 * Where the output goes. One set of calls for both kinds; `seekable` says which order of segments may be used.
 *
 * A sink never shows anything under its final name before `commit`.
 */
export interface Sink {
  /** For messages: the path, or `standard output`. */
  readonly name: string;
  readonly seekable: boolean;
  /** Only for outputs that are disks of their own: the bytes that the image must have, a multiple of 2 MiB. */
  readonly imageBytes?: number;
  /** Before the first byte, where the length of the whole output must be told first. */
  begin?(outputLength: number): Promise<void>;
  /**
   * Only for outputs that hold something old: destroys it. Called before the first write, once there is something to
   * write.
   */
  prepare?(): Promise<void>;
  /** Only for outputs that hold something old: what is left behind if the build fails now. */
  leftBehind?(): string;
  /**
   * Writes at a place of the output; for a stream, the place must be where the stream stands.
   * `bytes` must not change until `done` was called.
   *
   * @throws PatchVdiError `space` | `sink`
   */
  write(bytes: Uint8Array, position: number, done?: () => void): void;
  /**
   * Zeros at a place. A new file has them already.
   *
   * @param free nobody reads them before writing there
   */
  writeZeros(position: number, length: number, free?: boolean): void;
  /** Undefined when more may be written at once; else a promise to wait for first. */
  drained(): Promise<void> | undefined;
  /** Everything written so far is stored (file) or handed over (stream). */
  flush(): Promise<void>;
  /** The output is complete and gets its final name; `outputLength` bytes. */
  commit(outputLength: number): Promise<void>;
  /** Gives up: nothing stays under any name (file), nothing more is sent (stream). Safe at any time, also after commit. */
  discard(): Promise<void>;
}

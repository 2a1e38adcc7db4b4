/** Bytes to be written over those of an image. */
export interface BytePatch {
  /** In the image, in bytes. */
  readonly offset: number;
  /** Valid until the next patch is asked for. */
  readonly bytes: Uint8Array;
}

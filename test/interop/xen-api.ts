/*
 * xen-api (Xen Orchestra), unchanged, as a client of ours: it keeps a copy of the pool by `event.from`, and follows its
 * tasks and its own changes with that. It has no types of its own; here stands what the tests use.
 */

import type { Readable } from 'node:stream';

export interface XenApiRecord {
  readonly $ref: string;
  readonly $type: string;
  readonly [field: string]: unknown;
}

export interface XenApiClient {
  readonly pool: XenApiRecord;
  readonly sessionId: string;
  readonly objectsFetched: Promise<void>;
  readonly objects: { readonly all: Readonly<Record<string, XenApiRecord>> };
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  call(method: string, ...parameters: unknown[]): Promise<unknown>;
  callAsync(method: string, ...parameters: unknown[]): Promise<unknown>;
  /** `PUT` of a stream with a `length`, or of a buffer; the result of the task. */
  putResource(
    body: Readable | Uint8Array,
    path: string,
    options: { readonly query?: Readonly<Record<string, string>>; readonly task?: boolean | string },
  ): Promise<unknown>;
  createTask(label: string, description?: string): Promise<string>;
  watchTask(ref: string): Promise<unknown>;
  /** Resolves when the copy has everything that has happened up to now. */
  barrier(ref?: string): Promise<XenApiRecord | undefined>;
  getAllRecords(type: string): Promise<readonly XenApiRecord[]>;
  setFieldEntry(type: string, ref: string, field: string, entry: string, value: string | null): Promise<void>;
  getObjectByRef(ref: string, fallback?: unknown): XenApiRecord | undefined;
}

export interface XenApiClientOptions {
  readonly url: string;
  readonly auth: { readonly user: string; readonly password: string };
  readonly transport?: 'auto' | 'json-rpc' | 'xml-rpc';
  /** Milliseconds between two calls of `event.from`. */
  readonly debounce?: number;
  /** Certificates of their own are what most pools have. */
  readonly allowUnauthorized?: boolean;
  readonly watchEvents?: boolean;
}

const MODULE: string = 'xen-api';

const { createClient: create } = (await import(MODULE)) as {
  createClient: (options: XenApiClientOptions) => XenApiClient;
};

export const createClient = create;

import { invariant } from '../errors.js';
import { utf8 } from './packets.js';

/** What `apply` does; every way but `fail` ends well. */
export type ApplyBehaviour =
  | { readonly kind: 'ok' }
  | { readonly kind: 'fail' }
  | { readonly kind: 'sleep'; readonly seconds: number };

/** Everything that the script at the front of a test patch needs to know. */
export interface ScriptFacts {
  readonly uuid: string;
  /** One line of ASCII without `'`. */
  readonly infoDocument: string;
  /** The same; undefined: the precheck passes. */
  readonly precheckDocument: string | undefined;
  readonly apply: ApplyBehaviour;
  readonly payloadBytes: number;
  /** Lower-case hex. */
  readonly payloadSha256: string;
  readonly scratchBytes: number;
}

/** The last line of the script; the payload begins right after it. */
const MARKER = '### the payload follows ###';

/** Numbers stand in fields of this width, so that the script's length does not depend on them. */
const NUMBER_COLUMNS = 16;

const padded = (value: number): string => String(value).padEnd(NUMBER_COLUMNS);

/** An ASCII text for the shell. Documents are escaped so that they have no quote of their own. */
function quoted(text: string): string {
  invariant(/^[ -&(-~]*$/.test(text), 'what the script prints is one line of ASCII without a single quote');
  return `'${text}'`;
}

function precheckLines(document: string | undefined): string {
  return document === undefined ? '  return 0' : `  printf '%s\\n' ${quoted(document)}\n  return 1`;
}

function behaviourLines(apply: ApplyBehaviour): { before: string; after: string } {
  switch (apply.kind) {
    case 'ok':
      return { before: '', after: '' };
    case 'fail':
      return { before: '', after: `  fail 'it was told to fail'\n` };
    case 'sleep':
      // In the background, because a shell obeys a signal only when the program in front of it has ended.
      return {
        before: [
          `  echo 'sleeping for ${apply.seconds} s'`,
          `  sleep ${apply.seconds} &`,
          '  sleeper=$!',
          '  wait "$sleeper"',
          '  sleeper=',
          '',
        ].join('\n'),
        after: '',
      };
    default: {
      const never: never = apply;
      return never;
    }
  }
}

function scriptText(facts: ScriptFacts, offset: number): string {
  const { before, after } = behaviourLines(facts.apply);
  return String.raw`#!/bin/sh
# A test patch, made by patch-vdi. It changes nothing on the host that runs it.
# Its payload follows this script; "apply" unpacks it beside this file, checks
# it and removes it. POSIX shell; sha256sum, shasum or openssl, and cmp.
set -u
LC_ALL=C
export LC_ALL

uuid=${facts.uuid}
payload_offset=${padded(offset)}
payload_bytes=${padded(facts.payloadBytes)}
payload_sha256=${facts.payloadSha256}
scratch_bytes=${padded(facts.scratchBytes)}

info() {
  printf '%s\n' ${quoted(facts.infoDocument)}
}

precheck() {
${precheckLines(facts.precheckDocument)}
}

# What goes wrong is said on standard output: that is what a host reports.
fail() {
  printf 'apply failed: %s\n' "$1"
  exit 1
}

remove_all() {
  if [ -n "$sleeper" ]; then kill "$sleeper" 2>/dev/null; fi
  if [ -n "$folder" ]; then rm -rf "$folder"; fi
}

size_of() {
  wc -c <"$1" | tr -d ' '
}

sha256_of() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"
  elif command -v shasum >/dev/null 2>&1; then shasum -a 256 <"$1"
  elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r <"$1"
  else return 1
  fi
}

scratch_text() {
  yes "$uuid" 2>/dev/null | head -c "$scratch_bytes"
}

apply() {
  case $0 in
  /*) self=$0 ;;
  *) self=./$0 ;;
  esac
  folder=
  sleeper=
  trap remove_all EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
${before}
  expected=$((payload_offset + payload_bytes))
  found=$(size_of "$self")
  [ "$found" = "$expected" ] || fail "this file has $found bytes instead of $expected"

  wanted=${'$'}{self%/*}/patch-$uuid.$$
  mkdir "$wanted" || fail "no folder $wanted"
  folder=$wanted

  tail -c +$((payload_offset + 1)) "$self" >"$folder/payload" || fail 'the payload could not be unpacked'
  found=$(size_of "$folder/payload")
  [ "$found" = $((payload_bytes)) ] || fail "$found bytes were unpacked instead of $((payload_bytes))"
  found=$(sha256_of "$folder/payload") || fail 'there is no sha256sum, shasum or openssl to check the payload with'
  found=${'$'}{found%% *}
  [ "$found" = "$payload_sha256" ] || fail "the SHA-256 of the payload is $found instead of $payload_sha256"
  echo "unpacked $((payload_bytes)) bytes of payload: right"

  if [ $((scratch_bytes)) -gt 0 ]; then
    scratch_text >"$folder/scratch"
    found=$(size_of "$folder/scratch")
    [ "$found" = $((scratch_bytes)) ] || fail "$found bytes of scratch were written instead of $((scratch_bytes))"
    scratch_text | cmp - "$folder/scratch" || fail 'the scratch space does not hold what was written to it'
    echo "wrote $((scratch_bytes)) bytes of scratch: right"
  fi

  rm -rf "$folder" || fail "$folder could not be removed"
  folder=
${after}  echo "applied $uuid"
}

case "$#:${'$'}{1-}" in
1:info) info ;;
1:precheck) precheck ;;
1:apply) apply ;;
*)
  echo "usage: $0 info | precheck | apply" >&2
  exit 64
  ;;
esac
exit
${MARKER}
`;
}

/** The script at the front of a patch. Its length depends on neither the payload nor the scratch size. */
export function patchScript(facts: ScriptFacts): Uint8Array {
  const { length } = utf8(scriptText(facts, 0));
  const script = utf8(scriptText(facts, length));
  invariant(script.length === length, 'the length of the script does not depend on the numbers in it');
  return script;
}

import { PatchVdiError } from '../errors.js';
import { normalFingerprint, validatePolicy, type SignaturePolicy } from '../signature/policy.js';

/** What `printRecipe` writes a script for. */
export interface RecipeRequest {
  /** A path on the machine that will run the recipe: a raw image, a fixed VHD, or a block device. */
  readonly image: string;
  /** Its keyrings must be binary files there. */
  readonly policy: Omit<SignaturePolicy, 'detachedSignature'>;
  /** Where the private copy goes there. */
  readonly scratchFolder: string;
  /** For precheck and apply each; whole seconds. */
  readonly timeoutSeconds: number;
}

/** A text as one word of a POSIX shell, whatever it holds. */
function quoted(text: string): string {
  if (!text.includes('\0')) return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  throw new PatchVdiError('usage', 'a path holds a NUL', {
    context: { operation: 'print the recipe', found: JSON.stringify(text.slice(0, 64)), expected: 'a path' },
  });
}

function settings({ image, policy, scratchFolder, timeoutSeconds }: RecipeRequest): string {
  const signers = (policy.signers ?? []).map((signer) => normalFingerprint(signer));
  return [
    `image=${quoted(image)}`,
    `scratch_folder=${quoted(scratchFolder)}`,
    `# Full fingerprints of primary keys, one of which must have signed; none: any key of the keyrings.`,
    `signers=${quoted(signers.join(' '))}`,
    `allow_weak_digest=${policy.allowWeakDigest === true ? 'yes' : 'no'}`,
    `allow_expired_key=${policy.allowExpiredKey === true ? 'yes' : 'no'}`,
    `time_limit=${Math.ceil(timeoutSeconds)}`,
    `# One "keyring FILE" a line: binary keyrings.`,
    'keyrings() {',
    ...policy.keyrings.map((keyring) => `  keyring ${quoted(keyring)}`),
    '}',
  ].join('\n');
}

/** Everything below the settings: nothing of the request is in it. */
const PROGRAM = String.raw`
PATH=${'$'}{PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
LC_ALL=C
export PATH LC_ALL
umask 077
work=
mounted=no

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "recipe: $1"
  exit "${'$'}{2:-6}"
}

# Whatever happens: unmounted, the loop device given back with it, the copy removed.
clean_up() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  cd /
  if [ "$mounted" = yes ]; then
    tries=0
    until umount "$work/mnt" 2>/dev/null; do
      tries=$((tries + 1))
      if [ "$tries" -gt 10 ]; then
        say 'recipe: something that the patch has left running still uses the copy: unmounted when that ends'
        umount -l "$work/mnt"
        break
      fi
      sleep 1
    done
  fi
  if [ -n "$work" ]; then rm -rf --one-file-system "$work"; fi
  exit "$status"
}

case "$#:${'$'}{1-}" in
0:) command=apply ;;
1:precheck | 1:apply) command=$1 ;;
*) fail "usage: sh ${'$'}{0##*/} [precheck | apply]" 2 ;;
esac
[ "$(id -u)" = 0 ] || fail 'only root can mount the image and apply the patch' 2

case $image in /*) ;; *) image=$PWD/$image ;; esac
case $scratch_folder in /*) ;; *) scratch_folder=$PWD/$scratch_folder ;; esac
[ -d "$scratch_folder" ] || fail "there is no folder $scratch_folder" 2
[ -r "$image" ] || fail "there is no $image that can be read" 2

# Bytes of the image, and KiB that are free where the copy goes: a number in "df -P" is the fourth word.
if [ -b "$image" ]; then
  numbers=$(stat -L -c '0x%t 0x%T' "$image") || fail "the size of $image cannot be told"
  sectors=$(cat "/sys/dev/block/$((${'$'}{numbers% *})):$((${'$'}{numbers#* }))/size") || fail "the size of $image cannot be told"
  bytes=$((sectors * 512))
elif [ -f "$image" ]; then
  bytes=$(stat -L -c %s "$image") || fail "the size of $image cannot be told"
else
  fail "$image is neither a file nor a block device" 2
fi
magic=$(head -c 8 "$image" | tr -d '\000')
[ "$magic" != conectix ] || fail 'this is a dynamic VHD, whose blocks lie in any order: give a raw image (qemu-img convert, vhd-util, xe vdi-export format=raw)'
free=$(df -P -k "$scratch_folder" | { read -r _; read -r _ _ _ kib _; echo "$kib"; }) || fail "$scratch_folder cannot be used" 2
[ "$((free * 1024))" -gt "$bytes" ] || fail "there is no room for a copy in $scratch_folder: $bytes bytes are needed" 5

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "$scratch_folder/patch-vdi-recipe.XXXXXX") || fail "$scratch_folder cannot be used" 2
mkdir "$work/mnt" "$work/home" || fail "$scratch_folder cannot be used" 2

say 'copying the disk'
cp --sparse=always -- "$image" "$work/disk" || fail "$image could not be copied" 5

if command -v e2fsck >/dev/null 2>&1; then
  say 'checking the copy'
  E2FSCK_CONFIG=/dev/null e2fsck -fn "$work/disk" >"$work/fsck" 2>&1 || { cat "$work/fsck" >&2; fail 'the file system is damaged'; }
fi

say 'mounting it'
for type in ext4 ext3 ext2; do
  if mount -t "$type" -o loop,nosuid,nodev,errors=remount-ro "$work/disk" "$work/mnt" 2>>"$work/words"; then
    mounted=yes
    break
  fi
done
[ "$mounted" = yes ] || { cat "$work/words" >&2; fail 'the kernel does not mount the image'; }
if [ -h "$work/mnt/patch" ] || [ ! -f "$work/mnt/patch" ]; then fail 'there is no regular file "patch" in the image'; fi

say 'verifying the signature'
keyring() {
  case $1 in /*) path=$1 ;; *) path=$PWD/$1 ;; esac
  [ -f "$path" ] || fail "there is no keyring $path" 2
  case $(head -c 5 "$path" | tr -d '\000') in -----) fail "$path is armoured: gpg --dearmor makes it binary" 2 ;; esac
  keyring_count=$((keyring_count + 1))
  ln -s "$path" "$work/home/keyring-$keyring_count" || fail 'the keyring could not be prepared'
}
keyring_count=0
keyrings
set --
number=0
while [ "$number" -lt "$keyring_count" ]; do
  number=$((number + 1))
  set -- "$@" --keyring "$work/home/keyring-$number"
done
folder=$(mktemp -d "$work/mnt/patch-vdi-XXXXXX") || fail 'there is no room in the image' 5
if gpgv --homedir "$work/home" --status-fd 3 --output "$folder/patch" "$@" <"$work/mnt/patch" 3>"$work/status" 2>"$work/words"; then :; else
  cat "$work/words" >&2
  fail 'gpgv does not vouch for the signature' 3
fi

# Exit code 0 is not enough: it is 0 for expired and for revoked keys, too.
begun=0
good=0
valid=0
texts=0
trusted=no
[ -n "$signers" ] || trusted=yes
while read -r prefix keyword _ _ _ _ _ _ _ digest class primary _; do
  [ "$prefix" = '[GNUPG:]' ] || fail 'gpgv says something that is not understood' 3
  case $keyword in
  NEWSIG) begun=$((begun + 1)) ;;
  GOODSIG) good=$((good + 1)) ;;
  EXPKEYSIG)
    [ "$allow_expired_key" = yes ] || fail 'the key has expired' 3
    good=$((good + 1))
    ;;
  VALIDSIG)
    valid=$((valid + 1))
    # The eighth word is the digest (RFC 4880, 9.4).
    case $digest in
    8 | 9 | 10 | 11) ;;
    2 | 3) [ "$allow_weak_digest" = yes ] || fail 'the signature uses SHA-1 or RIPEMD-160' 3 ;;
    *) fail 'the signature uses a digest that is not known' 3 ;;
    esac
    [ "$class" = 00 ] || fail 'it is not a signature of a binary document' 3
    for signer in $signers; do
      if [ "$signer" = "$primary" ]; then trusted=yes; fi
    done
    ;;
  PLAINTEXT) texts=$((texts + 1)) ;;
  PLAINTEXT_LENGTH | KEY_CONSIDERED | KEYEXPIRED | NOTATION_DATA | NOTATION_FLAGS | NOTATION_NAME | POLICY_URL | SIG_ID | VERIFICATION_COMPLIANCE_MODE) ;;
  *) fail "gpgv reports a problem: $keyword" 3 ;;
  esac
done <"$work/status"
if [ "$valid" -lt 1 ] || [ "$valid" != "$begun" ] || [ "$valid" != "$good" ] || [ "$texts" != 1 ]; then
  fail 'not every signature is valid' 3
fi
[ "$trusted" = yes ] || fail 'it was not signed by one of the signers' 3
if [ -h "$folder/patch" ] || [ ! -f "$folder/patch" ]; then fail 'gpgv has written no clear text' 3; fi
chmod 0500 "$folder/patch" || fail 'the clear text cannot be made executable'

# The clear text that gpgv has written is what runs; the file "patch" itself never does.
run() {
  cd "$folder" || fail 'the clear text is gone'
  set -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/xensource/bin \
    LC_ALL=C TZ=UTC HOME=/ SHELL=/bin/sh TMPDIR="$folder" "$folder/patch" "$1"
  if command -v timeout >/dev/null 2>&1; then set -- timeout -k 10 "$time_limit" "$@"; fi
  "$@" </dev/null
}
say 'running precheck'
run precheck || fail "the precheck says no (exit code $?)" 1
[ "$command" = apply ] || exit 0
say 'running apply'
run apply || fail "the apply FAILED (exit code $?): find out what it has done so far" 7
say 'applied'
`;

/**
 * A POSIX shell script that does on another machine what {@link applyPatch} does, where Node does not run: copy, mount,
 * verify with gpgv (2.1.16 or later), run. It needs coreutils, mount and gpgv; where e2fsck is, it checks the copy. It
 * has no mount namespace and no allow-list of features, and does not keep what was applied.
 *
 * @throws PatchVdiError `usage` for a policy that cannot be used, or paths that are none
 */
export function printRecipe(request: RecipeRequest): string {
  validatePolicy(request.policy);
  if (/^https?:\/\//i.test(request.image)) {
    throw new PatchVdiError('usage', 'a recipe cannot fetch an image', {
      context: {
        operation: 'print the recipe',
        found: 'a URL',
        expected: 'a path on the machine that runs it',
      },
    });
  }
  return `#!/bin/sh
# Made by "patch-vdi apply --print-recipe": applies the patch of a patch disk on a
# machine where patch-vdi itself does not run. POSIX shell, coreutils, mount, gpgv.
# Exit codes: 0 done, 1 the precheck says no, 2 usage, 3 the signature does not
# hold, 5 no room, 6 the image cannot be used, 7 the apply failed.
set -u
${settings(request)}
${PROGRAM}`;
}

#!/bin/sh
# npm run demo: the main job from nothing, with other programs as witnesses.
#
# Makes a throw-away key and a signed upload, pipes it through `patch-vdi build` into a VHD, and shows with e2fsck,
# qemu-img, debugfs, gpgv and (as root) a mount that the image is right. Then it damages one byte of the upload and
# shows that no image comes out. Everything happens in a temporary folder, which is removed at the end.
#
#   npm run demo              an upload of 300 MiB
#   npm run demo -- 50        an upload of 50 MiB
set -eu
cd "$(dirname "$0")/../.."

size_mib=${1:-300}
case $size_mib in '' | *[!0-9]* | 0) echo "usage: npm run demo -- [MiB]" >&2; exit 2 ;; esac

npm run --silent setup
npm run --silent build >/dev/null
patch_vdi="$PWD/dist/cli/main.js"

work=$(mktemp -d "${TMPDIR:-/tmp}/patch-vdi-demo-XXXXXX")
mounted=
cleanup() {
  if [ -n "$mounted" ]; then umount "$mounted"; fi
  GNUPGHOME="$work/gnupg" gpgconf --kill all 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
# Shows a command as a user would type it, then runs it.
run() { printf '$ %s\n' "$1"; sh -c "$1"; }
export PATH="$PATH:/usr/sbin:/sbin"
export patch_vdi
sh_patch_vdi="node $patch_vdi"

say "1. A throw-away key, and a signed upload of $size_mib MiB"
export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Demo <demo@example.org>' ed25519 sign never 2>/dev/null
gpg --batch --export >keys.gpg
fingerprint=$(gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }')
head -c "$((size_mib * 1024 * 1024))" /dev/urandom >content
gpg --batch --quiet --compress-algo none --sign -o hotfix.xsupdate content
rm content
length=$(wc -c <hotfix.xsupdate | tr -d ' ')
echo "hotfix.xsupdate: $length bytes, signed by $fingerprint"

say '2. Through a pipe into a sealed VHD, in one pass'
echo "\$ cat hotfix.xsupdate | patch-vdi build - --content-length $length \\"
echo "      --keyring keys.gpg --signer $fingerprint -o hotfix.vhd"
# shellcheck disable=SC2002,SC2086 # the pipe is the point; the variable holds two words
cat hotfix.xsupdate | $sh_patch_vdi build - --content-length "$length" \
  --keyring keys.gpg --signer "$fingerprint" -o hotfix.vhd

say '3. What other programs say about it'
run 'qemu-img info hotfix.vhd'
run 'qemu-img convert -O raw hotfix.vhd hotfix.raw'
run 'e2fsck -fn hotfix.raw'
run 'debugfs -R "stat /patch" hotfix.raw 2>/dev/null | head -3'
if [ "$(id -u)" = 0 ] && mkdir mnt && mount -o loop,ro hotfix.raw mnt 2>/dev/null; then
  mounted="$work/mnt"
  echo '$ mount -o loop,ro hotfix.raw mnt'
  run 'ls -l mnt'
  run 'cmp mnt/patch hotfix.xsupdate && echo the bytes are equal'
  umount "$mounted"
  mounted=
else
  echo '(no mount: this needs root and a loop device; debugfs reads the file instead)'
  run 'debugfs -R "dump /patch patch.out" hotfix.raw 2>/dev/null'
  run 'cmp patch.out hotfix.xsupdate && echo the bytes are equal'
fi
run 'debugfs -R "cat /patch" hotfix.raw 2>/dev/null | gpgv --keyring ./keys.gpg 2>&1 | grep -v "^gpgv: *using"'

say '4. One byte of the upload changed: no image comes out'
printf 'X' | dd of=hotfix.xsupdate bs=1 seek=$((length / 2)) conv=notrunc 2>/dev/null
echo '$ patch-vdi build hotfix.xsupdate --keyring keys.gpg -o tampered.vhd'
code=0
$sh_patch_vdi build hotfix.xsupdate --keyring keys.gpg -o tampered.vhd --no-progress || code=$?
run 'ls -A'
if [ "$code" != 3 ] || [ -e tampered.vhd ]; then
  echo "the demo failed: exit code $code" >&2
  exit 1
fi

say 'Done. The same with your own file:'
echo "node dist/cli/main.js build UPLOAD --keyring KEYS -o IMAGE.vhd"

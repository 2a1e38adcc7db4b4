/*
 * The two halves of a shell program that has a mount for as long as somebody holds its standard input open. POSIX sh
 * and coreutils; it is given to `sh -c`, so its words come as $1, $2, … and nothing is quoted into it.
 */

/**
 * Kills whatever runs in a mount namespace, however it was started: a process cannot leave the namespace by forking
 * twice, by a session of its own or by the death of its parents. One that has made a namespace of its own out of this
 * one (`unshare --mount`) is found by our mount, which that one has, too.
 *
 * `namespace`: its inode number; `mark`: a part of the mount's path that nobody else's mount has. What the two programs
 * find of themselves is dead when the list is read, so that `kill` fails; a zombie has no namespace any more. Looked
 * twice, because a process may fork while it is looked; bounded, because one that the kernel holds does not die.
 */
const END_ALL = String.raw`
end_all() {
  rounds=0
  quiet=0
  while [ "$quiet" -lt 2 ] && [ "$rounds" -lt 100 ]; do
    rounds=$((rounds + 1))
    quiet=$((quiet + 1))
    for entry in $(stat -L -c '%i:%n' /proc/[0-9]*/ns/mnt 2>/dev/null) $(grep -l -s -F -e "/$mark/" /proc/[0-9]*/mountinfo); do
      case $entry in
      "$namespace":/proc/*) pid=${'$'}{entry#*:/proc/} ;;
      /proc/*) pid=${'$'}{entry#/proc/} ;;
      *) continue ;;
      esac
      pid=${'$'}{pid%%/*}
      [ "$pid" != $$ ] && [ "$pid" != 1 ] && [ "$pid" != "$spared" ] && kill -s KILL "$pid" 2>/dev/null && quiet=0
    done
    [ "$quiet" -gt 0 ] || sleep 0.02
  done
}
`;

/** `$1` the inode number of a namespace, `$2` the mark, `$3` a process that is not to be killed. */
export const END_ALL_SCRIPT = `set -u
namespace=$1 mark=$2 spared=$3
${END_ALL}
end_all
`;

/**
 * Becomes a program in a mount namespace of its own. What is mounted there is to stay there, and what the host mounts
 * is to come; unshare(1) makes all private since 2.27 and cannot be asked before 2.26, so the program itself sees to it.
 */
export const UNSHARE_SCRIPT = `set -u
if unshare --mount --propagation unchanged true 2>/dev/null; then
  exec unshare --mount --propagation unchanged "$@"
fi
exec unshare --mount "$@"
`;

/**
 * `$1` the image, `$2` the folder to mount it on, `$3` a file that is there as long as programs may be started in the
 * namespace, `$4` the mark, `$5` what to remove in the end.
 *
 * Says `mounted MAJOR:MINOR`; then for each line that it reads `ended`, when nothing runs in its namespace any more.
 * Its input ends when whoever started it lets go of it or dies, in whatever way: then all in the namespace is killed,
 * the image is unmounted and everything is removed. The kernel gives back the loop device with the mount, and the mount
 * with the last process of the namespace, so that even the death of this program leaves neither.
 *
 * Signals are for whoever started it. errors=remount-ro: the superblock may say "panic".
 */
export const HOLDER_SCRIPT = String.raw`set -u
image=$1 folder=$2 token=$3 mark=$4 remove=$5 spared=$PPID
trap '' HUP INT QUIT TERM PIPE
namespace=$(stat -L -c %i /proc/$$/ns/mnt) || exit 1
${END_ALL}
if mount --make-rslave / && mount -t ext4 -o loop,nosuid,nodev,errors=remount-ro -- "$image" "$folder"; then
  device=$(stat -c %d "$folder")
  echo "mounted $(((device >> 8) & 0xfff)):$(((device & 0xff) | ((device >> 12) & 0xfff00)))"
  while read -r _; do
    end_all
    echo ended
  done
  rm -f -- "$token"
  tries=0
  end_all
  # The patch may have unmounted it itself.
  while grep -q -s -F -e "/$mark/" /proc/$$/mountinfo && ! umount -- "$folder" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then
      umount -l -- "$folder"
      break
    fi
    end_all
    sleep 0.05
  done
else
  echo failed
  while read -r _; do :; done
fi
rm -rf --one-file-system -- "$remove"
`;

/**
 * Runs a program in the namespace: `$1` the token, `$2` the folder to run in, `$3` `together` for one output or
 * `apart`, the rest is the program.
 *
 * The token is looked at after the namespace was entered: the holder removes it before it looks for the last time, so
 * either it sees this process, or this process sees that it comes too late. The program is a child, so that one that
 * kills its parent kills this shell and not us. SIGTERM is for the program alone.
 */
export const RUN_SCRIPT = String.raw`set -u
[ -e "$1" ] || exit 125
cd -- "$2" || exit 126
unset OLDPWD
[ "$3" = apart ] || exec 2>&1
shift 3
ulimit -c 0
trap : TERM
"$@"
status=$?
trap - TERM
[ "$status" -le 128 ] || kill -s "$((status - 128))" $$ 2>/dev/null
exit "$status"
`;

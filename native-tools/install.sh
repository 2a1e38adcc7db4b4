#!/bin/sh
# Installs the programs that patch-vdi runs, if they are missing. The list is tools.tsv, next to this file.
# POSIX sh only: it has to run where nothing is installed yet (dash, busybox ash).
set -eu
set -f # no word of the list is a file name pattern

# The same folders as DEFAULT_SEARCH_PATH in src/tools/find.ts: what this script finds, patch-vdi finds.
# sbin is in it because e2fsprogs lives there, and a normal user's PATH often leaves it out.
default_search_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
default_search_path=$default_search_path:/opt/homebrew/opt/e2fsprogs/sbin:/opt/homebrew/bin
default_search_path=$default_search_path:/usr/local/opt/e2fsprogs/sbin
search_path=${PATCH_VDI_TOOLS_PATH:-$default_search_path}

# A machine that has just booted may hold apt's lock for its own updates: wait for it.
apt_options='--yes --no-install-recommends -o DPkg::Lock::Timeout=120'
tab=$(printf '\t')
newline='
'

say() { printf '%s\n' "$*"; }
complain() { printf 'install.sh: %s\n' "$*" >&2; }

usage() {
  cat <<'END'
usage: sh install.sh [--apply] [--dev] [--check]

Installs, with apt, dnf, apk or brew, the programs that patch-vdi needs and that are missing or too old.
Asks for root (sudo) only if something has to be installed.

  --apply   also what "patch-vdi apply" needs
  --dev     also what the tests, the demo and the benchmark need, and --apply
  --check   only say what is missing; exit code 1 if anything is
  --help    this text

PATCH_VDI_TOOLS_PATH, when set, names the only folders (a:b:c) in which programs are looked for.
exit codes: 0 all is there, 1 something is missing, 2 wrong usage
END
}

# Sets found_path to the first executable file of that name, or to nothing.
find_program() {
  found_path=
  old_ifs=$IFS
  IFS=:
  for folder in $search_path; do
    if [ -f "$folder/$1" ] && [ -x "$folder/$1" ]; then
      found_path=$folder/$1
      break
    fi
  done
  IFS=$old_ifs
}

# Sets found_version to the first word that looks like 1.47.0, or to nothing.
ask_version() {
  case ${1##*/} in
    mke2fs | debugfs | e2fsck | dumpe2fs) version_option=-V ;;
    *) version_option=--version ;;
  esac
  # e2fsprogs print their version on stderr. Standard input is the list here: nobody else may read from it.
  words=$(LC_ALL=C "$1" "$version_option" 2>&1 </dev/null) || true
  found_version=
  for word in $words; do
    case $word in
      [0-9]*.[0-9]*)
        found_version=${word%%[!0-9.]*}
        break
        ;;
    esac
  done
}

# Whether version $1 is $2 or later, compared number by number: 1.9 is older than 1.45.
is_at_least() {
  have=$1.
  want=$2.
  while [ -n "$want" ]; do
    have_number=${have%%.*}
    want_number=${want%%.*}
    [ "${have_number:-0}" -le "${want_number:-0}" ] || return 0
    [ "${have_number:-0}" -ge "${want_number:-0}" ] || return 1
    have=${have#*.}
    want=${want#*.}
  done
  return 0
}

# Sets fault to what is wrong with program $1 of minimum version $2, or to nothing.
judge() {
  fault=
  find_program "$1"
  if [ -z "$found_path" ]; then
    fault='not found'
    return
  fi
  # A probe costs some milliseconds, and without a minimum every version will do.
  [ "$2" != - ] || return 0
  ask_version "$found_path"
  if [ -z "$found_version" ]; then
    fault="$found_path does not say its version"
  elif ! is_at_least "$found_version" "$2"; then
    fault="$found_path is too old ($found_version)"
  fi
}

add_package() {
  case " $packages " in
    *" $1 "*) ;;
    *) packages="${packages:+$packages }$1" ;;
  esac
}

# Looks at every row that is asked for. Sets missing (program names), packages (each once) and report (lines).
examine() {
  missing=
  packages=
  report=
  while IFS="$tab" read -r program minimum needed apt dnf apk brew purpose; do
    case $program in '' | '#'*) continue ;; esac
    case $needed in
      build) ;;
      apply) [ "$with_apply_tools" = yes ] || continue ;;
      *) [ "$with_test_tools" = yes ] || continue ;;
    esac
    judge "$program" "$minimum"
    [ -n "$fault" ] || continue
    case $manager in
      apt) package=$apt ;;
      dnf) package=$dnf ;;
      apk) package=$apk ;;
      brew) package=$brew ;;
      *) package= ;;
    esac
    expected=
    [ "$minimum" = - ] || expected=", $minimum or later is needed"
    line="  $program: $fault$expected; it $purpose"
    if [ "$package" = - ]; then
      report="$report$line (skipped: $manager has no package of it)$newline"
      # What only a test wants may be absent where it does not exist; what every build needs may not.
      [ "$needed" = build ] || continue
    else
      report="$report$line$newline"
      [ -z "$package" ] || add_package "$package"
    fi
    missing="${missing:+$missing }$program"
  done <"$list"
}

find_manager() {
  for manager in apt dnf apk brew; do
    manager_program=$manager
    [ "$manager" != apt ] || manager_program="apt-get"
    if command -v "$manager_program" >/dev/null 2>&1; then return; fi
  done
  manager=
}

# The command that installs $packages, as one line for people.
install_command() {
  case $manager in
    apt) say "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install $apt_options $packages" ;;
    dnf) say "dnf install --assumeyes $packages" ;;
    apk) say "apk add --no-cache $packages" ;;
    brew) say "brew install $packages" ;;
  esac
}

# Shows a command, then runs it, with sudo if that is how root is reached.
run() {
  [ -z "$sudo" ] || set -- "$sudo" "$@"
  say "+ $*"
  "$@"
}

# shellcheck disable=SC2086 # packages and apt_options are lists of words
install_packages() {
  case $manager in
    apt)
      # One unreachable third-party archive makes update fail although ours answered: let install decide.
      run apt-get update || complain 'apt-get update failed (above); going on with the package lists that are here'
      run env DEBIAN_FRONTEND=noninteractive apt-get install $apt_options $packages
      ;;
    dnf) run dnf install --assumeyes $packages ;;
    apk) run apk add --no-cache $packages ;;
    brew) run brew install $packages ;;
  esac
}

with_test_tools=no
with_apply_tools=no
only_check=no
for option in "$@"; do
  case $option in
    --apply) with_apply_tools=yes ;;
    --dev)
      with_test_tools=yes
      with_apply_tools=yes
      ;;
    --check) only_check=yes ;;
    --help)
      usage
      exit 0
      ;;
    *)
      complain "unknown option $option; --help lists all"
      exit 2
      ;;
  esac
done

case $0 in
  */*) list=${0%/*}/tools.tsv ;;
  *) list=./tools.tsv ;;
esac
if [ ! -r "$list" ]; then
  complain "there is no $list: this script and its list belong together"
  exit 1
fi

find_manager
examine

if [ -z "$missing" ]; then
  say 'patch-vdi: all native programs are here'
  [ -z "$report" ] || printf 'except, not needed to build images:\n%s' "$report"
  exit 0
fi

printf 'patch-vdi: native programs to install:\n%s' "$report"
if [ "$only_check" = yes ]; then
  [ -z "$packages" ] || say "to install them: $(install_command)"
  exit 1
fi
if [ -z "$manager" ]; then
  complain "none of apt-get, dnf, apk and brew is here: install these yourself: $missing"
  exit 1
fi
if [ -z "$packages" ]; then
  complain "$manager has no package of what is missing: install these yourself: $missing"
  exit 1
fi

sudo=
user=$(id -u)
if [ "$manager" = brew ]; then
  # Homebrew refuses root, and its files belong to the user who set it up.
  if [ "$user" = 0 ]; then
    complain "brew does not run as root. As your own user: $(install_command)"
    exit 1
  fi
elif [ "$user" != 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    complain "this needs root, and there is no sudo. As root: $(install_command)"
    exit 1
  fi
  sudo=sudo
fi

say "installing with $manager: $packages${sudo:+ (asks for root through sudo)}"
outcome=ok
install_packages || outcome=failed
examine
if [ -n "$missing" ]; then
  [ "$outcome" = ok ] || complain "$manager failed, its message is above. The command was: $(install_command)"
  complain "still missing: $missing"
  printf '%s' "$report" >&2
  exit 1
fi
[ "$outcome" = ok ] || complain "$manager reported a failure (above), but every program is here now"
say 'patch-vdi: all native programs are here'

#!/bin/sh
# npm run test:fuzz -- 200000 SEED: more damaged images than in the test run, and others.
# npm run test:fuzz -- --case SEED:NUMBER: one of them again.
set -eu
cd "$(dirname "$0")/../.."
if [ "${1-}" = --case ]; then
  PATCH_VDI_FUZZ_CASE=${2:?SEED:NUMBER}
  export PATCH_VDI_FUZZ_CASE
else
  PATCH_VDI_FUZZ=${1:-200000}
  export PATCH_VDI_FUZZ
  if [ -n "${2-}" ]; then
    PATCH_VDI_SEED=$2
    export PATCH_VDI_SEED
  fi
fi
exec npx vitest run --maxWorkers=1 test/fuzz/fuzz.test.ts

#!/bin/sh
# npm run test:cuts -- 2000 [SEED]: more cuts than in the test run.
set -eu
cd "$(dirname "$0")/../.."
PATCH_VDI_CUTS=${1:-2000}
export PATCH_VDI_CUTS
if [ -n "${2-}" ]; then
  PATCH_VDI_SEED=$2
  export PATCH_VDI_SEED
fi
exec npx vitest run test/cuts

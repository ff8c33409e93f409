#!/usr/bin/env bash
# Put together what a Space's repository holds: assemble.sh FOLDER, from a clone of Thaw.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${1:?name the folder of the clone of your Space}
mkdir -p "$target"
git -C "$here/../.." archive HEAD | tar --extract --directory "$target" --exclude tests --exclude benchmarks --exclude docs/pictures
cp "$here/README.md" "$here/Dockerfile" "$target/"
echo "Now commit and push $target."

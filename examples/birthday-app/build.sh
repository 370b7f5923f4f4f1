#!/bin/sh
# Builds the app and pushes its image under the name that config.json gives.
# DOCKER_HOST says which engine to build with, as always.
set -eu
cd "$(dirname "$0")"

image=$(sed -n 's/.*"repo": *\["\([^"]*\)"\].*/\1/p' config.json)
[ -n "$image" ] || { echo 'config.json has no "repo": ["REGISTRY/YOU/APP"]' >&2; exit 1; }

rustc --edition 2024 -C target-feature=+crt-static -C opt-level=s -C strip=symbols -o birthday-app main.rs
DOCKER_BUILDKIT=0 docker build --quiet --tag "$image" .
docker push --quiet "$image"

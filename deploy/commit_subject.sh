#!/usr/bin/env bash
# Check a commit's subject: its area, a colon, an imperative sentence, at most 72 characters.
set -euo pipefail
subject=$(head -n 1 "$1")
if [[ $subject == Merge* || $subject == Revert* || $subject == fixup!* || $subject == squash!* ]]; then
  exit 0
fi
if ((${#subject} > 72)); then
  echo "The subject has ${#subject} characters; at most 72 are allowed." >&2
  exit 1
fi
if [[ ! $subject =~ ^[a-z0-9_/,.\ -]+:\ [A-Z] ]]; then
  echo "Begin the subject with an area: 'execution: Cancel expired orders'." >&2
  exit 1
fi

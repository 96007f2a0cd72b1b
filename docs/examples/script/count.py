#!/usr/bin/env python3
"""Counts the words of its standard input that are longer than its first argument says."""

import json
import sys

words = [word for word in sys.stdin.read().split() if len(word) > int(sys.argv[1])]
print(json.dumps({"count": len(words), "words": words}))

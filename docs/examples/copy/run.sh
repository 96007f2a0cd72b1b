#!/bin/sh
set -- $(cat "$(dirname "$0")/words.txt")
echo "three words"
[ $# = 3 ]

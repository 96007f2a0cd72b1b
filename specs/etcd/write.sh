# Writes the keys FOLDER/1, FOLDER/2 … and notes in /tmp/FOLDER which of them etcd has said that it keeps; one that it doesn't is left behind.
n=0
while :; do
  n=$((n + 1))
  etcdctl --command-timeout=10s put "$1/$n" "$n" >/dev/null 2>&1 && echo "$1/$n" >>"/tmp/$1"
done

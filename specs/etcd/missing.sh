# Prints how many keys were noted by write.sh, and those among them that a member doesn't have: missing.sh FOLDER MEMBER.
ETCDCTL_ENDPOINTS="http://$2.etcd:2379" etcdctl get --consistency=s --prefix --keys-only "$1/" | sort -u >"/tmp/$1-$2"
echo "$(wc -l <"/tmp/$1") noted"
sort -u "/tmp/$1" | comm -23 - "/tmp/$1-$2"

#!/bin/sh
# Stands in for adduser, addgroup and the like in a root file system that has none: adds a line, the last word its name.
set -e
for word; do name=$word; done
number=$((1000 + $(wc -l </etc/group)))
grep -q "^$name:" /etc/group || echo "$name:x:$number:" >>/etc/group
case ${0##*/} in
*user*) grep -q "^$name:" /etc/passwd || echo "$name:x:$number:$number::/home/$name:/bin/sh" >>/etc/passwd ;;
esac

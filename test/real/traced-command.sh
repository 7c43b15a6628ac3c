#!/bin/sh
# Stands in for a program that fetches or compiles for long, under that program's name. It notes how it was called, and
# leaves what would have come of it: small files, always the same ones.
set -e
name=${0##*/}
echo "$name $*" >>/var/log/traced.log

# leave FILE…: files that would have been fetched or made.
leave() {
  for file; do
    case $file in */*) mkdir -p "${file%/*}/" ;; esac
    case $file in
    *.tgz | *.tar.gz) cp /usr/local/share/traced.tgz "$file" ;;
    *) printf '#!/bin/sh\n# made by %s\n' "$name" >"$file" && chmod 755 "$file" ;;
    esac
  done
}

output= last= url=
for word; do
  case $last in -o | -O | --output) output=$word ;; esac
  case $word in
  -O-) output=- ;;
  TARGET_FILE=*) output=${word#*=} ;;
  *://*) url=$word ;;
  esac
  last=$word
done
case $output in *://*) output=${url##*/} ;; esac

case "$name $*" in
'git clone '*)
  directory=$last
  case $last in *[:@]*) directory=$(basename "$last" .git) ;; esac
  # Places that builds change into.
  mkdir -p "$directory/nats" "$directory/protoc-gen-gogo"
  for script in autogen.sh configure config install.sh; do cp "$0" "$directory/$script"; done
  ;;
'git describe '* | 'git rev-parse '*) echo v1.2.3 ;;
'go install '* | 'go get '*)
  shift
  for word; do
    word=${word%@*}
    word=${word%/...}
    case $word in -*) ;; *) leave "${GOBIN:-${GOPATH:-/go}/bin}/${word##*/}" ;; esac
  done
  ;;
'go run '*) leave "./$last" ;;
'npm install'* | 'yarn install'* | 'yarn workspaces '*) leave node_modules/traced/index.js ;;
'yarn cache clean') echo /tmp/yarn-cache ;;
'yarn build') leave build/app.js ;;
'yarn rw build api') leave api/dist/app.js api/db/schema.prisma node_modules/.prisma/client.js ;;
'yarn rw build web'*) leave web/dist/index.html ;;
'python -m venv '*) leave "$last/bin/python" ;;
'apt-get '*update*) leave /var/lib/apt/lists/main ;;
'apt-get '*bind9*) grep -q ^bind: /etc/group || echo bind:x:110: >>/etc/group ;;
'dnf '*) leave /usr/share/containers/storage.conf /etc/containers/policy.json ;;
'wget '*) [ -n "$output" ] || output=${url##*/} ;;
'curl '*) [ -n "$output" ] || output=- ;;
'gpg '*) cat >/dev/null && echo 'a key' ;;
'unzip '*) leave /usr/local/bin/protoc ;;
esac
case $output in '') ;; -) cat /usr/local/share/traced.tgz ;; *) leave "$output" ;; esac

# What particular builds install.
case "$PWD $name $*" in
*/freeradius-server\ make\ install) leave /opt/sbin/radiusd /opt/lib/libfreeradius.a /opt/lib/libfreeradius.so /opt/etc/raddb/radiusd.conf ;;
*/freeradius-server\ make*\ deb) leave ../freeradius_3.2.1_amd64.deb ;;
*/knot-dns\ make*\ install)
  for library in knot dnssec zscanner; do
    leave "/usr/local/include/lib$library/all.h" "/usr/local/lib/lib$library.so.1" "/usr/local/lib/pkgconfig/lib$library.pc"
  done
  ;;
*/knot-resolver\ ninja*)
  leave "$DESTDIR/usr/sbin/kresd" "$DESTDIR/usr/share/doc/knot-resolver/examples/config.docker"
  mkdir -p "$DESTDIR/etc/knot-resolver"
  ;;
*/nghttp2\ make*\ install-strip)
  cd /usr/local
  leave share/nghttp2/fetch-ocsp-response bin/h2load bin/nghttpx bin/nghttp bin/nghttpd lib/nghttp2/reuseport_kern.o
  ;;
*\ make\ podman-remote*) leave "bin/$2-${GOOS:-linux}" ;;
esac

#!/bin/sh
# Creates the certificates of the TLS tests: an issuer, and one valid for `localhost` only. No system trusts them.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=forwarder test issuer" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout issuer.key -out issuer.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > server.ext
openssl x509 -req -in server.csr -CA issuer.pem -CAkey issuer.key -CAcreateserial -days 36500 -extfile server.ext -out server.pem
rm -f issuer.key issuer.srl server.csr server.ext

#!/bin/sh
# Creates the client certificates of the syslog tests: one from the issuer, an expired one, and one from another
# issuer. All have the same key. No system trusts the issuers.
set -eu
cd "$(dirname "$0")"
curve="ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
issue() { # name issuer dates...
    name=$1 issuer=$2
    shift 2
    openssl req -new -key client.key -subj "/CN=forwarder" -out client.csr
    printf 'extendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n' > client.ext
    openssl x509 -req -in client.csr -CA "$issuer.pem" -CAkey "$issuer.key" -CAcreateserial -extfile client.ext "$@" -out "$name.pem"
}
for issuer in issuer other; do
    openssl req -x509 -newkey $curve -days 36500 -subj "/CN=forwarder test $issuer" -keyout $issuer.key -out $issuer.pem \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
done
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out client.key
issue client issuer -days 36500
issue stranger other -days 36500
# It expired before it became valid.
issue expired issuer -days -1
rm -f issuer.key other.key other.pem client.csr client.ext ./*.srl

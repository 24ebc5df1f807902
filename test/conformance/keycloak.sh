#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tokens and keys of a real Keycloak: its discovery document, RS256 and ES256, a change of keys.
#
#   test/conformance/keycloak.sh ACCESS_TEST
#
# KEYCLOAK names the unpacked distribution (Maven: org.keycloak:keycloak-quarkus-dist, needs Java).
# 77: it is not there.
set -euo pipefail
access_test=$1
[ -n "${KEYCLOAK:-}" ] && [ -x "$KEYCLOAK/bin/kc.sh" ] && command -v java >/dev/null || exit 77
work=$(mktemp -d)
port=${KEYCLOAK_PORT:-18443}
cleanup() {
  [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
cp -r "$KEYCLOAK" "$work/keycloak"
mkdir -p "$work/keycloak/data/import"
cat >"$work/keycloak/data/import/mesh.json" <<'JSON'
{"realm": "mesh", "enabled": true,
 "clients": [{"clientId": "oncomesh", "enabled": true, "publicClient": true, "directAccessGrantsEnabled": true,
   "protocolMappers": [{"name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
     "config": {"included.client.audience": "oncomesh", "access.token.claim": "true"}}]}],
 "users": [{"username": "ana", "enabled": true, "email": "ana@example.org", "firstName": "A", "lastName": "B",
   "emailVerified": true, "credentials": [{"type": "password", "value": "word"}]}]}
JSON
export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin JAVA_OPTS_KC_HEAP="-Xms64m -Xmx512m"
"$work/keycloak/bin/kc.sh" start-dev --import-realm --http-enabled=false --https-port="$port" \
  --https-certificate-file="$work/tls.crt" --https-certificate-key-file="$work/tls.key" >"$work/log" 2>&1 &
server=$!
base=https://localhost:$port
curl() { command curl -sf --cacert "$work/tls.crt" "$@"; }
for _ in $(seq 600); do
  curl -o "$work/discovery" "$base/realms/mesh/.well-known/openid-configuration" && break
  kill -0 "$server" || { tail -20 "$work/log" >&2 && exit 1; }
  sleep 1
done
field() { python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }
token() {
  curl "$base/realms/mesh/protocol/openid-connect/token" -d grant_type=password -d client_id=oncomesh \
    -d username=ana -d password=word -d scope=openid | field access_token
}
admin=$(curl "$base/realms/master/protocol/openid-connect/token" -d grant_type=password -d client_id=admin-cli \
  -d username=admin -d password=admin | field access_token)
realm=$(curl -H "Authorization: Bearer $admin" "$base/admin/realms/mesh" | field id)
token >"$work/first"

# The test calls this between the two tokens: ES256 keys, which then sign.
cat >"$work/rotate" <<ROTATE
set -e
curl="curl -sf --cacert $work/tls.crt"
\$curl -H "Authorization: Bearer $admin" -H 'Content-Type: application/json' "$base/admin/realms/mesh/components" -d '
  {"name": "es256", "providerId": "ecdsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": "$realm",
   "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "ecdsaEllipticCurveKey": ["P-256"]}}'
\$curl -X PUT -H "Authorization: Bearer $admin" -H 'Content-Type: application/json' "$base/admin/realms/mesh" -d '{"defaultSignatureAlgorithm": "ES256"}'
\$curl "$base/realms/mesh/protocol/openid-connect/token" -d grant_type=password -d client_id=oncomesh \
  -d username=ana -d password=word -d scope=openid | python3 -c "import json,sys; print(json.load(sys.stdin)['access_token'])" >"$work/second"
ROTATE
ONCOMESH_TEST_ISSUER=$base/realms/mesh ONCOMESH_TEST_ISSUER_CA=$work/tls.crt \
  ONCOMESH_TEST_ISSUER_TOKENS=$work ONCOMESH_TEST_ISSUER_ROTATE="bash $work/rotate" \
  "$access_test" "issuer keys: a real identity provider*"

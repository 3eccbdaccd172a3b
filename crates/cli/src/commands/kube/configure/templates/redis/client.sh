#!/bin/sh
# redis-cli checks that the server's certificate is of our authority, but compares no name: whoever has a server
# certificate of this authority can stand in. Libraries do compare it (redis-py: ssl_check_hostname=True).
exec redis-cli -h {{UPSTREAM_HOST}} -p {{UPSTREAM_PORT}} --tls --sni {{UPSTREAM_HOST}} \
    --cert {{CLIENT}}/tls.crt --key {{CLIENT}}/tls.key --cacert {{CLIENT}}/ca.crt "$@"

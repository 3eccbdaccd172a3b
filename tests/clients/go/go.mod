module handfast.dev/tests/clients/go

go 1.19

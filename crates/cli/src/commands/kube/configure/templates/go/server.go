// A server that lets in only clients with a certificate of our authority, and takes renewed files by itself:
// they are read anew for a handshake when kubelet has swapped the Secret's link ..data.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
)

const folder = "{{SERVER}}"

var (
	lock   sync.Mutex
	marker string
	last   *tls.Config
)

// current gives the configuration of the files as they are now, and the last good one where they cannot be used.
func current(*tls.ClientHelloInfo) (*tls.Config, error) {
	lock.Lock()
	defer lock.Unlock()
	now, err := os.Readlink(folder + "/..data")
	if err == nil && now == marker && last != nil {
		return last, nil
	}
	config, err := load()
	if err == nil {
		last, marker = config, now
	} else if last == nil {
		return nil, err
	} else {
		log.Printf("the renewed certificate is not used: %v", err)
	}
	return last, nil
}

func load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(folder+"/tls.crt", folder+"/tls.key")
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(folder + "/ca.crt")
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(bundle) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		NextProtos:   []string{"h2", "http/1.1"},
		// A ticket would outlive the trust that it was given under.
		SessionTicketsDisabled: true,
	}, nil
}

func main() {
	if _, err := current(nil); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s\n", r.TLS.PeerCertificates[0].Subject)
	})
	server := &http.Server{Addr: ":{{LISTEN}}", TLSConfig: &tls.Config{GetConfigForClient: current, MinVersion: tls.VersionTLS12}}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

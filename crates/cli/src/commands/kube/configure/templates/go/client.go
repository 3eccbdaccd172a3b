// A client that shows its own certificate, accepts only a server of our authority, and takes renewed files by
// itself: both are read for each new connection.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

const folder = "{{CLIENT}}"

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	pair, err := tls.LoadX509KeyPair(folder+"/tls.crt", folder+"/tls.key")
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(folder + "/ca.crt")
	if err != nil {
		return nil, err
	}
	servers := x509.NewCertPool()
	if !servers.AppendCertsFromPEM(bundle) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: servers,
	}}
	return dialer.DialContext(ctx, network, address)
}

func main() {
	client := &http.Client{
		Timeout: 10 * time.Second,
		// Kept connections are closed when idle, so that a renewed certificate is in use soon.
		Transport: &http.Transport{DialTLSContext: dial, IdleConnTimeout: time.Minute},
	}
	answer, err := client.Get("https://{{UPSTREAM}}/")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(answer.Status, "\n", string(body))
}

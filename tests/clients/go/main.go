// The Go client of the black-box tests: crypto/tls and the standard library alone (Go 1.19 or newer).
//
// It opens one or more connections, writes, reads *after* the handshake (in TLS 1.3 the server may refuse a
// client that believes it is done) and prints one JSON object per connection. It exits 0 whenever it could
// print: whether a refusal was right is for the test to say.
package main

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"time"
)

// result is what one connection came to.
type result struct {
	Handshake bool   `json:"handshake"`
	Version   string `json:"version,omitempty"`
	Cipher    string `json:"cipher,omitempty"`
	ALPN      string `json:"alpn,omitempty"`
	Resumed   bool   `json:"resumed"`
	// Asked says whether the server asked for a client certificate.
	Asked bool `json:"asked"`
	// Read is what came back, as text; ReadBytes its length before it was cut to 64 KiB.
	Read      string `json:"read"`
	ReadBytes int    `json:"read_bytes"`
	// Closed: "eof" after a close_notify, "truncated" without one, "timeout", or "" when an error says more.
	Closed string `json:"closed,omitempty"`
	Error  string `json:"error,omitempty"`
	// Alert is the number of the alert that the server sent, if it sent one.
	Alert *int `json:"alert,omitempty"`
	// ServerLeaf is the serial of the certificate that the server showed, in hex.
	ServerLeaf string `json:"server_leaf,omitempty"`
}

// oneSession keeps the newest ticket, whatever name it was given for: an attacker would do the same.
type oneSession struct{ state *tls.ClientSessionState }

func (s *oneSession) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }
func (s *oneSession) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		s.state = state
	}
}

func main() {
	addr := flag.String("addr", "", "host:port, or one per round by comma")
	names := flag.String("servername", "", "server name, or one per round by comma; empty sends none")
	certFile := flag.String("cert", "", "PEM chain, sent as it is, well formed or not")
	keyFile := flag.String("key", "", "PKCS#8 key")
	caFile := flag.String("ca", "", "verify the server against these roots; without it the server is not verified")
	alpn := flag.String("alpn", "", "protocols by comma")
	minVersion := flag.String("min", "", "1.0, 1.1, 1.2 or 1.3")
	maxVersion := flag.String("max", "", "1.0, 1.1, 1.2 or 1.3")
	ciphers := flag.String("ciphers", "", "TLS 1.2 suites by comma, by their IANA names")
	curves := flag.String("curves", "", "P-256, P-384, P-521, X25519 by comma")
	send := flag.String("send", "", "what to write after the handshake")
	want := flag.Int("want", 0, "stop reading after this many bytes; 0 reads to the end")
	halfClose := flag.Bool("half-close", false, "send close_notify after writing")
	rounds := flag.Int("rounds", 1, "connections, one after the other, that share one session")
	wait := flag.Bool("wait", false, "read a line from stdin before each round after the first")
	timeout := flag.Duration("timeout", 10*time.Second, "for the whole of one connection")
	flag.Parse()

	config := &tls.Config{
		MinVersion: version(*minVersion, tls.VersionTLS10),
		MaxVersion: version(*maxVersion, tls.VersionTLS13),
		// The server is the one under test; -ca turns verification on.
		InsecureSkipVerify: *caFile == "",
		ClientSessionCache: &oneSession{},
		CipherSuites:       suites(*ciphers),
		CurvePreferences:   groups(*curves),
	}
	if *alpn != "" {
		config.NextProtos = strings.Split(*alpn, ",")
	}
	if *caFile != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(read(*caFile)) {
			fail("no certificate in %s", *caFile)
		}
	}
	var own *tls.Certificate
	if *certFile != "" {
		own = load(*certFile, *keyFile)
	}
	stdin := bufio.NewReader(os.Stdin)
	servers, addrs := strings.Split(*names, ","), strings.Split(*addr, ",")
	for round := 0; round < *rounds; round++ {
		if round > 0 && *wait {
			if _, err := stdin.ReadString('\n'); err != nil {
				return
			}
		}
		this := config.Clone()
		this.ServerName = servers[min(round, len(servers)-1)]
		connect(this, own, addrs[min(round, len(addrs)-1)], *send, *want, *halfClose, *timeout)
	}
}

func connect(config *tls.Config, own *tls.Certificate, addr, send string, want int, halfClose bool, timeout time.Duration) {
	var r result
	// Always answers with the certificate that was given, also when the server's list of authorities does
	// not name its issuer: a polite client would hide the refusal.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		r.Asked = true
		if own == nil {
			return &tls.Certificate{}, nil
		}
		return own, nil
	}
	defer func() { _ = json.NewEncoder(os.Stdout).Encode(&r) }()
	raw, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		r.note(err)
		return
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(timeout))
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		r.note(err)
		return
	}
	r.Handshake = true
	state := conn.ConnectionState()
	r.Version = map[uint16]string{tls.VersionTLS10: "1.0", tls.VersionTLS11: "1.1", tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[state.Version]
	r.Cipher, r.ALPN, r.Resumed = tls.CipherSuiteName(state.CipherSuite), state.NegotiatedProtocol, state.DidResume
	if len(state.PeerCertificates) > 0 {
		r.ServerLeaf = hex.EncodeToString(state.PeerCertificates[0].SerialNumber.Bytes())
	}
	if send != "" {
		if _, err := io.WriteString(conn, send); err != nil {
			// The alert that explains it waits in the read direction.
			r.Error = err.Error()
		}
	}
	if halfClose {
		_ = conn.CloseWrite()
	}
	var body strings.Builder
	buffer := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buffer)
		r.ReadBytes += n
		if body.Len() < 64<<10 {
			body.Write(buffer[:n])
		}
		if err != nil {
			r.note(err)
			break
		}
		if want > 0 && r.ReadBytes >= want {
			_ = conn.Close()
			break
		}
	}
	r.Read = body.String()
}

// note keeps an error and the alert in it.
func (r *result) note(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF):
		r.Closed = "eof"
		if !r.Handshake {
			r.Error = "EOF"
		}
		return
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.Closed = "truncated"
	case errors.As(err, &timeout) && timeout.Timeout():
		r.Closed = "timeout"
	}
	r.Error = err.Error()
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "remote error" {
		// crypto/tls keeps the type private; it is an uint8 that holds the alert's number.
		if value := reflect.ValueOf(operation.Err); value.Kind() == reflect.Uint8 {
			alert := int(value.Uint())
			r.Alert = &alert
		}
	}
}

// load builds the pair without looking into the certificates: broken ones must be sent too.
func load(certFile, keyFile string) *tls.Certificate {
	pair := &tls.Certificate{}
	for rest := read(certFile); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		pair.Certificate = append(pair.Certificate, block.Bytes)
	}
	block, _ := pem.Decode(read(keyFile))
	if len(pair.Certificate) == 0 || block == nil {
		fail("no certificate in %s, or no key in %s", certFile, keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		fail("%s: %v", keyFile, err)
	}
	pair.PrivateKey = key.(crypto.PrivateKey)
	return pair
}

func version(text string, otherwise uint16) uint16 {
	switch text {
	case "":
		return otherwise
	case "1.0":
		return tls.VersionTLS10
	case "1.1":
		return tls.VersionTLS11
	case "1.2":
		return tls.VersionTLS12
	case "1.3":
		return tls.VersionTLS13
	}
	fail("no TLS version %q", text)
	return 0
}

func suites(text string) []uint16 {
	var ids []uint16
	for _, name := range list(text) {
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if suite.Name == name {
				ids = append(ids, suite.ID)
			}
		}
	}
	if len(ids) != len(list(text)) {
		fail("unknown cipher suite in %q", text)
	}
	return ids
}

func groups(text string) []tls.CurveID {
	known := map[string]tls.CurveID{"P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521, "X25519": tls.X25519}
	var ids []tls.CurveID
	for _, name := range list(text) {
		id, ok := known[name]
		if !ok {
			fail("unknown group %q", name)
		}
		ids = append(ids, id)
	}
	return ids
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	if err != nil {
		fail("%v", err)
	}
	return content
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(2)
}

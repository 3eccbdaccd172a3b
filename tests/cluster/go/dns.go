package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/rest"

	"golang.org/x/net/dns/dnsmessage"
)

// The names of Services, answered from the API server's own objects: what CoreDNS's kubernetes plugin does, as far
// as tests need it. A (ClusterIP, headless, host names of StatefulSets), SRV of named ports, CNAME of ExternalName.
// It knows nothing of the world outside: such names do not exist.

// ttl is short, as in CoreDNS, so that a client sees a changed Service soon.
const ttl = 5

type zone struct {
	domain   string // "cluster.local.", in lower case, with its dot
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

// serveDNS answers until it is killed. It listens only once it knows all Services, and says so on /ready (:8181).
func serveDNS(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	domain := flags.String("domain", "cluster.local", "the cluster's domain")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	names := &zone{
		domain:   strings.ToLower(strings.Trim(*domain, ".")) + ".",
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	packets, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	streams, err := net.Listen("tcp", ":53")
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- names.servePackets(packets) }()
	go func() { failed <- names.serveStreams(streams) }()
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	go func() { failed <- http.ListenAndServe(":8181", nil) }()
	return <-failed
}

func (z *zone) servePackets(socket net.PacketConn) error {
	buffer := make([]byte, 4096)
	for {
		length, peer, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if reply := z.reply(buffer[:length], true); reply != nil {
			if _, err := socket.WriteTo(reply, peer); err != nil {
				fmt.Fprintln(os.Stderr, "cannot answer", peer, err)
			}
		}
	}
}

func (z *zone) serveStreams(listener net.Listener) error {
	for {
		stream, err := listener.Accept()
		if err != nil {
			return err
		}
		go z.serveStream(stream)
	}
}

// serveStream answers the questions of one connection, each with two bytes of length before it (RFC 1035, 4.2.2).
func (z *zone) serveStream(stream net.Conn) {
	defer stream.Close()
	for stream.SetDeadline(time.Now().Add(5*time.Second)) == nil {
		query, err := readMessage(stream)
		if err != nil {
			return
		}
		reply := z.reply(query, false)
		if reply == nil || len(reply) > 0xffff {
			return
		}
		if _, err := stream.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
			return
		}
	}
}

// reply makes the answer to one query, or nothing where the query cannot be read at all.
func (z *zone) reply(query []byte, datagram bool) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil || header.Response {
		return nil
	}
	answer := dnsmessage.Message{Header: dnsmessage.Header{
		ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired,
	}}
	question, err := parser.Question()
	if err != nil {
		answer.RCode = dnsmessage.RCodeFormatError
		return pack(answer)
	}
	answer.Questions = []dnsmessage.Question{question}
	found, records := z.lookup(strings.ToLower(question.Name.String()), question)
	answer.Answers = records
	if !found {
		answer.RCode = dnsmessage.RCodeNameError
	}
	if len(records) == 0 {
		answer.Authorities = z.authority()
	}
	reply := pack(answer)
	if datagram && len(reply) > datagramSize(&parser) {
		answer.Truncated, answer.Answers = true, nil
		return pack(answer)
	}
	return reply
}

// lookup says whether the name exists, and what it has of the type asked for.
func (z *zone) lookup(name string, question dnsmessage.Question) (bool, []dnsmessage.Resource) {
	rest, inside := strings.CutSuffix(name, ".svc."+z.domain)
	if !inside {
		return false, nil
	}
	parts := strings.Split(rest, ".")
	count := len(parts)
	if count < 2 || count > 4 {
		return false, nil
	}
	service, err := z.services.Services(parts[count-1]).Get(parts[count-2])
	if err != nil {
		return false, nil
	}
	above := parts[:count-2]
	target := question.Name.String()
	if count == 4 {
		if !strings.HasPrefix(above[0], "_") || !strings.HasPrefix(above[1], "_") {
			return false, nil
		}
		target = strings.Join(parts[2:], ".") + ".svc." + z.domain
		return z.ports(service, above[0][1:], above[1][1:], target, question)
	}
	if service.Spec.Type == core.ServiceTypeExternalName {
		alias, err := dnsmessage.NewName(strings.TrimSuffix(service.Spec.ExternalName, ".") + ".")
		if err != nil || count != 2 {
			return false, nil
		}
		return true, []dnsmessage.Resource{record(question.Name, dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: alias})}
	}
	host := ""
	if count == 3 {
		host = above[0]
	}
	addresses := z.addresses(service, host)
	var records []dnsmessage.Resource
	for _, address := range addresses {
		if four := net.ParseIP(address).To4(); four != nil && question.Type == dnsmessage.TypeA {
			records = append(records, record(question.Name, dnsmessage.TypeA, &dnsmessage.AResource{A: [4]byte(four)}))
		}
	}
	return host == "" || len(addresses) > 0, records
}

// ports answers `_https._tcp.web.default.svc.cluster.local`.
func (z *zone) ports(service *core.Service, port, protocol, target string, question dnsmessage.Question) (bool, []dnsmessage.Resource) {
	for _, candidate := range service.Spec.Ports {
		if candidate.Name != port || !strings.EqualFold(string(candidate.Protocol), protocol) {
			continue
		}
		name, err := dnsmessage.NewName(target)
		if err != nil || question.Type != dnsmessage.TypeSRV {
			return true, nil
		}
		return true, []dnsmessage.Resource{record(question.Name, dnsmessage.TypeSRV,
			&dnsmessage.SRVResource{Weight: 100, Port: uint16(candidate.Port), Target: name})}
	}
	return false, nil
}

// addresses are the Service's own, or those of its ready endpoints where it is headless or one host is asked for.
func (z *zone) addresses(service *core.Service, host string) []string {
	if service.Spec.ClusterIP != core.ClusterIPNone && host == "" {
		return service.Spec.ClusterIPs
	}
	slices, err := z.slices.EndpointSlices(service.Namespace).List(
		labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service.Name}))
	if err != nil {
		return nil
	}
	var addresses []string
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			named := host == "" || endpoint.Hostname != nil && *endpoint.Hostname == host
			if ready && named {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	return addresses
}

// authority tells how long "there is none" may be remembered (RFC 2308).
func (z *zone) authority() []dnsmessage.Resource {
	return []dnsmessage.Resource{record(dnsmessage.MustNewName(z.domain), dnsmessage.TypeSOA, &dnsmessage.SOAResource{
		NS: dnsmessage.MustNewName("ns.dns." + z.domain), MBox: dnsmessage.MustNewName("hostmaster." + z.domain),
		Serial: uint32(time.Now().Unix()), Refresh: 7200, Retry: 1800, Expire: 86400, MinTTL: ttl,
	})}
}

func record(name dnsmessage.Name, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	header := dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: ttl}
	return dnsmessage.Resource{Header: header, Body: body}
}

func pack(message dnsmessage.Message) []byte {
	packed, err := message.Pack()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot pack an answer:", err)
		return nil
	}
	return packed
}

// datagramSize is what the client takes in one datagram: 512 bytes, or what it says in an OPT record (RFC 6891).
func datagramSize(parser *dnsmessage.Parser) int {
	const smallest, largest = 512, 1232
	if errors.Join(parser.SkipAllQuestions(), parser.SkipAllAnswers(), parser.SkipAllAuthorities()) != nil {
		return smallest
	}
	for {
		header, err := parser.AdditionalHeader()
		if err != nil {
			return smallest
		}
		if header.Type == dnsmessage.TypeOPT {
			return min(max(int(header.Class), smallest), largest)
		}
		if parser.SkipAdditional() != nil {
			return smallest
		}
	}
}

func readMessage(stream net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(stream, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, int(length[0])<<8|int(length[1]))
	_, err := io.ReadFull(stream, message)
	return message, err
}

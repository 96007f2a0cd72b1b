package main

import (
	"encoding/hex"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const testID = 0x6b6f

func TestParsesRecordsWithCompressedNames(t *testing.T) {
	message, err := hex.DecodeString("6b6f8580000100020000000003777777076578616d706c6503636f6d0000010001" +
		"c00c000500010000003c000603776562c010" + "c02d000100010000003c00040a600001")
	if err != nil {
		t.Fatal(err)
	}

	found, err := parseAnswer(testID, message)

	want := []DNSRecord{
		{Name: "www.example.com.", Type: "CNAME", TTL: 60, Data: "web.example.com."},
		{Name: "web.example.com.", Type: "A", TTL: 60, Data: "10.96.0.1"},
	}
	if err != nil || found.Rcode != "NOERROR" || !reflect.DeepEqual(found.Answers, want) {
		t.Fatalf("got %+v, %v", found, err)
	}
	if !found.Flags["aa"] || !found.Flags["ra"] || found.Flags["tc"] {
		t.Errorf("got the flags %v", found.Flags)
	}
}

func TestRefusesCutOffAnswersPointerLoopsAndAnswersToOthers(t *testing.T) {
	loop, _ := hex.DecodeString("6b6f81800001000000000000" + "c00c" + "00010001")
	other, _ := hex.DecodeString("ffff81800000000000000000")
	for _, message := range [][]byte{nil, {1, 2, 3}, loop, loop[:13], other} {
		if found, err := parseAnswer(testID, message); err == nil {
			t.Errorf("%x: got %+v, expected an error", message, found)
		}
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	for _, wish := range [][2]string{{"a..b.", "A"}, {"a.", "NOPE"}, {strings.Repeat("a", 64) + ".", "A"}} {
		if _, err := buildQuery(testID, wish[0], wish[1]); err == nil {
			t.Errorf("%v: expected an error", wish)
		}
	}
}

func TestSearchListsMakeNamesAsTheCLibraryDoes(t *testing.T) {
	config := parseResolvConf(strings.NewReader(
		"search old.example\nnameserver 10.96.0.10\nnameserver 10.96.0.11\nsearch ns.svc.cluster.local svc.cluster.local\noptions timeout:1 ndots:2\n"))
	for name, want := range map[string][]string{
		"web":          {"web.ns.svc.cluster.local.", "web.svc.cluster.local.", "web."},
		"web.ns":       {"web.ns.ns.svc.cluster.local.", "web.ns.svc.cluster.local.", "web.ns."},
		"web.ns.svc":   {"web.ns.svc.", "web.ns.svc.ns.svc.cluster.local.", "web.ns.svc.svc.cluster.local."},
		"example.com.": {"example.com."},
	} {
		if got := config.candidates(name); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, expected %v", name, got, want)
		}
	}
	if config.server() != "10.96.0.10" {
		t.Errorf("got the server %s", config.server())
	}
}

// serveDNS answers over UDP: "big." truncated, "web.example." with an address, "empty.example." with nothing, all else NXDOMAIN.
func serveDNS(t *testing.T) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(buffer[:size]) != nil {
				continue
			}
			message.Response = true
			switch message.Questions[0].Name.String() {
			case "big.":
				message.Truncated = true
			case "empty.example.":
			case "web.example.":
				header := dnsmessage.ResourceHeader{Name: message.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 5}
				message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{10, 96, 0, 1}}}}
			default:
				message.RCode = dnsmessage.RCodeNameError
			}
			packed, _ := message.Pack()
			_, _ = conn.WriteTo(packed, from)
		}
	}()
	return conn.LocalAddr().String()
}

func TestAsksOneServer(t *testing.T) {
	server := serveDNS(t)
	for _, each := range []struct {
		wish    DNSWish
		rcode   string
		answers int
	}{
		{DNSWish{Name: "web.example", Type: "A"}, "NOERROR", 1},
		{DNSWish{Name: "empty.example.", Type: "AAAA"}, "NOERROR", 0},
		{DNSWish{Name: "none.example.", Type: "TXT"}, "NXDOMAIN", 0},
	} {
		each.wish.Server = server
		found := try(Target{Type: "dns", Limit: 5, DNS: &each.wish})
		if found.Outcome != Allowed || found.DNS == nil || found.DNS.Rcode != each.rcode || len(found.DNS.Answers) != each.answers {
			t.Errorf("%+v: got %+v %+v", each.wish, found, found.DNS)
		}
	}
}

func TestATruncatedAnswerIsAskedForOverTCPUnlessToldNotTo(t *testing.T) {
	server := serveDNS(t)

	cut := try(Target{Type: "dns", Limit: 5, DNS: &DNSWish{Name: "big.", Type: "A", Server: server, Transport: "udp"}})
	whole := try(Target{Type: "dns", Limit: 5, DNS: &DNSWish{Name: "big.", Type: "A", Server: server}})

	if cut.DNS == nil || !cut.DNS.Flags["tc"] {
		t.Errorf("over UDP: got %+v", cut)
	}
	if whole.Outcome != Refused { // nothing listens over TCP
		t.Errorf("then over TCP: got %+v", whole)
	}
}

func TestASilentServerThatLetsConnectIsToldFromAFilter(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()

	wish := &DNSWish{Name: "a.", Type: "A", Server: listener.Addr().String(), Transport: "tcp"}
	found := try(Target{Type: "dns", Limit: 0.1, DNS: wish})

	if found.Outcome != Dropped || found.Stage != Answering {
		t.Errorf("got %+v", found)
	}
}

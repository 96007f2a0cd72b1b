package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	recordTypes = map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "ANY": dnsmessage.TypeALL, "CNAME": dnsmessage.TypeCNAME,
		"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA,
		"SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
	}
	// RFC 1035, 4.1.1.
	responseCodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

	errShort   = errors.New("the DNS answer is cut off or malformed")
	errForeign = errors.New("the DNS answer is to another question")
)

// probeDNS asks one question: of the name as it is, or of the names that a search list makes of it, in a resolver's order.
func probeDNS(_ context.Context, target Target, deadline time.Time) Result {
	wish := target.DNS
	if wish == nil {
		return Result{Outcome: Errored, Reason: "a dns target needs dns"}
	}
	names, server, err := plan(wish)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var result Result
	best := -1
	asked := make([]string, 0, len(names))
	for _, name := range names {
		asked = append(asked, name)
		found := ask(wish, name, server, deadline)
		if rank := rankOf(found); rank > best {
			result, best = found, rank
		}
		if found.DNS == nil || !goesOn(found.DNS) {
			result = found
			break
		}
	}
	if result.DNS != nil {
		result.DNS.Asked = asked
	}
	return result
}

// goesOn says whether a resolver tries the next name of its search list after an answer: no such name, or nothing of this type.
func goesOn(answer *DNSResponse) bool {
	return answer.Rcode == "NXDOMAIN" || (answer.Rcode == "NOERROR" && len(answer.Answers) == 0)
}

// rankOf tells which of several fruitless answers says most: a name that exists, without records of the type, before none at all.
func rankOf(found Result) int {
	if found.DNS != nil && found.DNS.Rcode == "NOERROR" {
		return 1
	}
	return 0
}

// plan is what to ask, and whom.
func plan(wish *DNSWish) ([]string, netip.AddrPort, error) {
	var config resolvConf
	if wish.Search || wish.Server == "" {
		var err error
		if config, err = readResolvConf(resolvConfPath); err != nil {
			return nil, netip.AddrPort{}, err
		}
	}
	names := []string{withDot(wish.Name)}
	if wish.Search {
		names = config.candidates(wish.Name)
	}
	text := wish.Server
	if text == "" {
		if text = config.server(); text == "" {
			return nil, netip.AddrPort{}, errors.New("/etc/resolv.conf names no server")
		}
	}
	server, err := addressOfServer(text)
	return names, server, err
}

func addressOfServer(text string) (netip.AddrPort, error) {
	if pair, err := netip.ParseAddrPort(text); err == nil {
		return pair, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a server", text)
	}
	return netip.AddrPortFrom(address, 53), nil
}

// ask asks for one name: over UDP, and over TCP where the wish says so, or where it leaves that open and the answer was truncated.
func ask(wish *DNSWish, name string, server netip.AddrPort, deadline time.Time) Result {
	id := uint16(rand.Uint32())
	query, err := buildQuery(id, name, wish.Type)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var answer []byte
	var found verdict
	transport := "udp"
	if wish.Transport != "tcp" {
		answer, found = exchangeUDP(server, datagram{payload: query}, netip.AddrPort{}, deadline)
	}
	if wish.Transport == "tcp" || (wish.Transport == "" && isTruncated(answer)) {
		transport = "tcp"
		answer, found = exchangeTCP(server, query, deadline)
	}
	result := found.result()
	if found.outcome != Allowed || result.Failure != "" {
		return result
	}
	parsed, err := parseAnswer(id, answer)
	if err != nil {
		result.Failure = err.Error()
		return result
	}
	parsed.Server, parsed.Name, parsed.Transport = server.String(), name, transport
	result.DNS = parsed
	return result
}

func buildQuery(id uint16, name, kind string) ([]byte, error) {
	number, ok := recordTypes[strings.ToUpper(kind)]
	if !ok {
		return nil, fmt.Errorf("unknown record type %q", kind)
	}
	asked, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	question := dnsmessage.Question{Name: asked, Type: number, Class: dnsmessage.ClassINET}
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}
	query, err := message.Pack()
	if err != nil {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	return query, nil
}

func exchangeTCP(server netip.AddrPort, query []byte, deadline time.Time) ([]byte, verdict) {
	conn, found := connectTCP(server, netip.AddrPort{}, deadline)
	if conn == nil {
		return nil, found
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(deadline)
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	length := make([]byte, 2)
	if err == nil {
		_, err = io.ReadFull(conn, length)
	}
	answer := make([]byte, binary.BigEndian.Uint16(length))
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		result := found.result()
		afterConnect(err, "the DNS question", &result)
		found.outcome, found.reason, found.failure, found.stage = result.Outcome, result.Reason, result.Failure, result.Stage
	}
	return answer, found
}

func isTruncated(answer []byte) bool {
	var parser dnsmessage.Parser
	header, err := parser.Start(answer)
	return err == nil && header.Truncated
}

func parseAnswer(id uint16, message []byte) (*DNSResponse, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	if err != nil || !header.Response {
		return nil, errShort
	}
	if header.ID != id {
		return nil, errForeign
	}
	response := &DNSResponse{Rcode: rcode(header.RCode), Flags: flagsOf(header), Answers: []DNSRecord{}}
	if _, err := parser.AllQuestions(); err != nil {
		return nil, errShort
	}
	for {
		record, err := parser.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, errShort
		}
		response.Answers = append(response.Answers, recordOf(record))
	}
	for {
		record, err := parser.Authority()
		if err != nil {
			break
		}
		response.Authority = append(response.Authority, recordOf(record))
	}
	return response, nil
}

func flagsOf(header dnsmessage.Header) map[string]bool {
	return map[string]bool{
		"aa": header.Authoritative, "tc": header.Truncated, "rd": header.RecursionDesired,
		"ra": header.RecursionAvailable, "ad": header.AuthenticData, "cd": header.CheckingDisabled,
	}
}

func rcode(code dnsmessage.RCode) string {
	if int(code) < len(responseCodes) {
		return responseCodes[code]
	}
	return fmt.Sprintf("RCODE%d", code)
}

func typeName(kind dnsmessage.Type) string {
	for name, number := range recordTypes {
		if number == kind {
			return name
		}
	}
	return fmt.Sprintf("TYPE%d", kind)
}

// recordOf writes a record's data as a zone file does.
func recordOf(record dnsmessage.Resource) DNSRecord {
	header := record.Header
	return DNSRecord{Name: header.Name.String(), Type: typeName(header.Type), TTL: header.TTL, Data: dataOf(record.Body)}
}

func dataOf(body dnsmessage.ResourceBody) string {
	switch data := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(data.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(data.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return data.CNAME.String()
	case *dnsmessage.NSResource:
		return data.NS.String()
	case *dnsmessage.PTRResource:
		return data.PTR.String()
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", data.Pref, data.MX)
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", data.Priority, data.Weight, data.Port, data.Target)
	case *dnsmessage.SOAResource:
		return fmt.Sprintf("%s %s %d %d %d %d %d",
			data.NS, data.MBox, data.Serial, data.Refresh, data.Retry, data.Expire, data.MinTTL)
	case *dnsmessage.TXTResource:
		return strings.ToValidUTF8(strings.Join(data.TXT, ""), "\uFFFD")
	case *dnsmessage.UnknownResource:
		return fmt.Sprintf("%x", data.Data)
	}
	return ""
}
